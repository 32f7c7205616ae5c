import fc from 'fast-check';
import { compare, valid } from 'semver';
import { expect, test } from 'vitest';
import { nextVersion, precedenceKey } from './semver-order.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 2 ** 31);

const number = fc.oneof(fc.nat(20), fc.nat());
const identifier = fc.oneof(
  number.map(String),
  fc.stringMatching(/^[0-9A-Za-z-]{1,6}$/).filter((text) => !/^0\d+$/.test(text)),
);
const version = fc
  .tuple(number, number, number, fc.option(fc.array(identifier, { minLength: 1, maxLength: 4 })))
  .map(([a, b, c, pre]) => `${a}.${b}.${c}${pre ? `-${pre.join('.')}` : ''}`)
  .filter((text) => valid(text) === text);

test(`keys sort as SemVer precedence says (seed ${seed})`, () => {
  fc.assert(
    fc.property(version, version, (a, b) => {
      const [left, right] = [precedenceKey(a), precedenceKey(b)];
      const order = left < right ? -1 : left > right ? 1 : 0;
      expect(order).toBe(compare(a, b));
    }),
    { seed, numRuns: 3000 },
  );
});

test('the example of the specification is in order', () => {
  const order = [
    '1.0.0-alpha',
    '1.0.0-alpha.1',
    '1.0.0-alpha.beta',
    '1.0.0-beta',
    '1.0.0-beta.2',
    '1.0.0-beta.11',
  ];
  order.push('1.0.0-rc.1', '1.0.0', '2.0.0', '2.1.0', '2.1.1', '2.10.0');
  const shuffled = [...order].reverse().map((text) => ({ text, key: precedenceKey(text) }));
  expect(shuffled.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ text }) => text)).toEqual(order);
});

test('the next version is the next minor one', () => {
  expect(nextVersion(undefined)).toBe('1.0.0');
  expect(nextVersion('1.9.3')).toBe('1.10.0');
  expect(nextVersion('2.0.0-rc.1')).toBe('2.1.0');
});
