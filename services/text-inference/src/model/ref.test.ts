import { expect, test } from 'vitest';
import { formatModelRef, InvalidRefError, parseModelRef } from './ref.ts';

test('versions and aliases, with and without the scheme', () => {
  expect(parseModelRef('models:/medical-qa/1.2.0')).toEqual({ name: 'medical-qa', version: '1.2.0' });
  expect(parseModelRef('models:/medical-qa@production')).toEqual({
    name: 'medical-qa',
    version: '@production',
  });
  expect(parseModelRef('a/1.0.0-rc.1').version).toBe('1.0.0-rc.1');
  for (const ref of ['models:/a/1.0.0', 'models:/a@b']) expect(formatModelRef(parseModelRef(ref))).toBe(ref);
});

test('anything else is refused', () => {
  const bad = [
    '',
    'a',
    'models:/a',
    'models:/../1.0.0',
    'models:/a/../b',
    'models:/a/1/2',
    'models:/a@B',
    'a@',
    '/1.0.0',
  ];
  for (const ref of [...bad, `models:/${'a'.repeat(65)}/1.0.0`, 'models:/a/1.0.0\n', 'models:/A/1.0.0']) {
    expect(() => parseModelRef(ref), ref).toThrow(InvalidRefError);
  }
});
