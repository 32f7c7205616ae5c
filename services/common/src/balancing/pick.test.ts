import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lessLoadedOfTwo } from './pick.ts';

const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

test('the pick is one of the candidates, and never the one that all others are better than', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1000), { maxLength: 20 }), random, random, (costs, first, second) => {
      const candidates = costs.map((cost, id) => ({ id, cost }));
      const draws = [first, second];
      const picked = lessLoadedOfTwo(
        candidates,
        ({ cost }) => cost,
        () => draws.shift()!,
      );
      if (candidates.length === 0) {
        expect(picked).toBeUndefined();
        return;
      }
      expect(candidates).toContain(picked);
      const worse = candidates.filter(({ cost }) => cost > picked!.cost).length;
      const equal = candidates.filter(({ cost }) => cost === picked!.cost).length;
      if (candidates.length > 1) expect(worse + equal).toBeGreaterThan(1);
    }),
  );
});

test('each pair of candidates is drawn equally often', () => {
  const counts = new Map<string, number>();
  const drawn: number[] = [];
  const steps = 60;
  for (let a = 0; a < steps; a++) {
    for (let b = 0; b < steps; b++) {
      const draws = [a / steps, b / steps];
      drawn.length = 0;
      lessLoadedOfTwo(
        [0, 1, 2, 3],
        (id) => drawn.push(id),
        () => draws.shift()!,
      );
      const pair = [...drawn].sort().join();
      counts.set(pair, (counts.get(pair) ?? 0) + 1);
    }
  }
  expect([...counts.values()]).toEqual(Array(6).fill((steps * steps) / 6));
});
