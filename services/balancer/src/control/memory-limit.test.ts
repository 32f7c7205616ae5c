import { expect, test } from 'vitest';
import { verdictOn } from './memory-limit.ts';

test('a replica is replaced when it is found above its limit twice in a row, and at once only far above it', () => {
  expect(verdictOn(100, 100, 5)).toBeUndefined();
  expect(verdictOn(110, 100, 1)).toBeUndefined();
  expect(verdictOn(110.4, 100, 2)).toEqual({
    reason: 'its process holds 110 MiB, 100 MiB were declared',
    urgent: false,
  });
  expect(verdictOn(126, 100, 2)).toMatchObject({ urgent: true });
});
