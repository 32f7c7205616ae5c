import { expect, test } from 'vitest';
import { LossScale } from './loss-scale.ts';

test('an overflow halves the scale, down to where none helps; 2,000 steps without double it, up to its bound', () => {
  const scale = new LossScale();
  const first = scale.state.scale;
  for (let step = 1; step < 2000; step++) expect(scale.update(false)).toBe(false);
  expect(scale.state).toEqual({ scale: first, steady: 1999 });
  scale.update(false);
  expect(scale.state).toEqual({ scale: 2 * first, steady: 0 });

  scale.update(false);
  expect(scale.update(true)).toBe(true);
  expect(scale.state).toEqual({ scale: first, steady: 0 });
  while (scale.update(true)) expect(scale.state.scale).toBeGreaterThan(0);
  const least = scale.state.scale;
  expect(scale.update(true)).toBe(false);
  expect(scale.state.scale).toBe(least);

  for (let step = 0; step < 2000 * 100; step++) scale.update(false);
  expect(scale.state.scale).toBe(2 ** 24);
});
