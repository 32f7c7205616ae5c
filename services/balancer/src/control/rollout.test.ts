import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canaryReplicas, rolloutShare, rolloutTargets, takesOverAt } from './rollout.ts';

/** Lets replicas start and answer as the targets say, one at a time; returns `current+next` at each step. */
function trace(wanted: number, maxSurge: number, maxUnavailable: number): string[] {
  const steps: string[] = [];
  for (let nextReady = 0, nextRunning = 0; steps.length < 100; nextReady++) {
    const { current, next } = rolloutTargets({
      wanted,
      maxSurge,
      maxUnavailable,
      paused: false,
      nextRunning,
      nextReady,
    });
    steps.push(`${current}+${next}`);
    if (nextReady >= takesOverAt(wanted, maxUnavailable)) break;
    nextRunning = next;
    expect(nextRunning).toBeGreaterThan(nextReady);
  }
  return steps;
}

test('replicas are replaced a few at a time', () => {
  expect(trace(1, 0, 0)).toEqual(['1+1', '1+1']);
  expect(trace(3, 1, 0)).toEqual(['3+1', '2+2', '1+3', '1+3']);
  expect(trace(3, 3, 0)).toEqual(['3+3', '2+3', '1+3', '1+3']);
  expect(trace(3, 0, 1)).toEqual(['2+1', '1+2', '1+2']);
  expect(trace(1, 0, 1)).toEqual(['0+1', '0+1']);
  expect(trace(4, 1, 2)).toEqual(['2+3', '1+4', '1+4']);
});

test('never more than the surge, never fewer than may be missing, and every rollout ends', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.nat(4), fc.nat(4), (wanted, surge, unavailable) => {
      const most = wanted + (surge === 0 && unavailable === 0 ? 1 : surge);
      const steps = trace(wanted, surge, unavailable).map((step) => step.split('+').map(Number));
      steps.forEach(([current, next], nextReady) => {
        expect(current! + next!).toBeLessThanOrEqual(Math.max(most, wanted));
        expect(current! + nextReady).toBeGreaterThanOrEqual(Math.max(0, wanted - unavailable));
      });
    }),
  );
});

test('a rollout that is held starts none and keeps as many as answer', () => {
  const held = { wanted: 3, maxSurge: 1, maxUnavailable: 0, paused: true };
  expect(rolloutTargets({ ...held, nextRunning: 0, nextReady: 0 })).toEqual({ current: 3, next: 0 });
  expect(rolloutTargets({ ...held, nextRunning: 2, nextReady: 1 })).toEqual({ current: 2, next: 2 });
  expect(rolloutTargets({ ...held, nextRunning: 3, nextReady: 3 })).toEqual({ current: 1, next: 3 });
  expect(rolloutTargets({ ...held, wanted: 0, nextRunning: 3, nextReady: 3 })).toEqual({
    current: 0,
    next: 0,
  });
});

test('calls go where replicas answer', () => {
  expect(rolloutShare(3, 0)).toBe(0);
  expect(rolloutShare(3, 1)).toBe(25);
  expect(rolloutShare(0, 1)).toBe(100);
  expect([
    canaryReplicas(4, 5),
    canaryReplicas(4, 50),
    canaryReplicas(4, 100),
    canaryReplicas(0, 50),
  ]).toEqual([1, 2, 4, 0]);
});
