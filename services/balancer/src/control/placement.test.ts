import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type PlacedReplica, placeAdapters } from './placement.ts';

const replica = (id: string, ...adapters: string[]): PlacedReplica => ({ id, adapters: new Set(adapters) });
const placed = (adapters: string[], replicas: PlacedReplica[], slots: number) =>
  Object.fromEntries(
    [...placeAdapters(new Set(adapters), replicas, slots).byReplica].map(([id, set]) => [
      id,
      [...set].sort().join(''),
    ]),
  );

test('all replicas hold all adapters where they fit, else each the fewest', () => {
  expect(placed(['a', 'b'], [replica('1'), replica('2')], 2)).toEqual({ 1: 'ab', 2: 'ab' });
  expect(placed(['a', 'b', 'c', 'd'], [replica('1'), replica('2')], 2)).toEqual({ 1: 'ac', 2: 'bd' });
  expect(placed(['a', 'b', 'c'], [replica('1'), replica('2'), replica('3')], 2)).toEqual({
    1: 'ab',
    2: 'ab',
    3: 'c',
  });
});

test('what is placed stays; a new replica and a new adapter take what is free', () => {
  const before = [replica('1', 'b', 'd'), replica('2', 'a', 'c')];
  expect(placed(['a', 'b', 'c', 'd'], before, 2)).toEqual({ 1: 'bd', 2: 'ac' });
  expect(placed(['a', 'b', 'c'], before, 2)).toEqual({ 1: 'b', 2: 'ac' });
  expect(placed(['a', 'b', 'c', 'e'], before, 2)).toEqual({ 1: 'be', 2: 'ac' });
  expect(placed(['a', 'b', 'c', 'd'], [replica('1', 'b', 'd'), replica('3')], 2)).toEqual({
    1: 'bd',
    3: 'ac',
  });
});

test('what has no room is told', () => {
  const { copies } = placeAdapters(new Set(['a', 'b', 'c']), [replica('1', 'c', 'b')], 2);
  expect(Object.fromEntries(copies)).toEqual({ a: 0, b: 1, c: 1 });
  expect(placeAdapters(new Set(['a']), [replica('1')], 0).copies.get('a')).toBe(0);
});

test('no replica holds more than it can, each adapter is somewhere if all fit, and a second look changes nothing', () => {
  const names = fc.uniqueArray(fc.constantFrom(...'abcdefghijklmnop'), { maxLength: 12 });
  fc.assert(
    fc.property(
      names,
      fc.array(names, { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 6 }),
      (adapters, held, slots) => {
        const replicas = held.map((list, index) => replica(`r${index}`, ...list.slice(0, slots)));
        const { byReplica, copies } = placeAdapters(new Set(adapters), replicas, slots);
        for (const set of byReplica.values()) expect(set.size).toBeLessThanOrEqual(slots);
        if (adapters.length <= slots * replicas.length) {
          for (const name of adapters) expect(copies.get(name)).toBeGreaterThan(0);
        }
        const again = replicas.map(({ id }) => ({ id, adapters: byReplica.get(id)! }));
        expect(placeAdapters(new Set(adapters), again, slots).byReplica).toEqual(byReplica);
      },
    ),
  );
});
