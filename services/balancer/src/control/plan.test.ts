import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffMs } from './backoff.ts';
import { type PlannedReplica, planReplicas } from './plan.ts';

const replicas = fc
  .uniqueArray(fc.record({ slot: fc.nat(20), ready: fc.boolean(), draining: fc.boolean() }), {
    selector: ({ slot }) => slot,
    maxLength: 12,
  })
  .map((list): PlannedReplica[] => list.map((each) => ({ ...each, id: `r${each.slot}` })));

test('after the plan as many replicas run as are wanted, or wait for their pause; nothing is done twice', () => {
  fc.assert(
    fc.property(replicas, fc.nat(12), fc.array(fc.nat(2000)), (list, wanted, pauses) => {
      const nowMs = 1000;
      const notBeforeMs = (slot: number) => pauses[slot] ?? 0;
      const plan = planReplicas(wanted, list, notBeforeMs, nowMs);
      const kept = list.filter(({ draining }) => !draining);
      expect(plan.drain.length).toBe(Math.max(0, kept.length - wanted));
      expect(plan.start.length).toBeLessThanOrEqual(Math.max(0, wanted - kept.length));
      expect(Math.min(plan.start.length, plan.drain.length)).toBe(0);
      expect(new Set(plan.start).size).toBe(plan.start.length);
      for (const slot of plan.start) {
        expect(kept.some((each) => each.slot === slot)).toBe(false);
        expect(notBeforeMs(slot)).toBeLessThanOrEqual(nowMs);
      }
      const complete = kept.length + plan.start.length >= wanted;
      expect(Number.isFinite(plan.nextMs)).toBe(!complete);
      if (!complete) expect(plan.nextMs).toBeGreaterThan(nowMs);
      const drained = kept.filter(({ id }) => plan.drain.includes(id));
      const stays = kept.filter(({ id }) => !plan.drain.includes(id));
      // One that answers is never ended while one that does not stays.
      if (drained.some(({ ready }) => ready)) expect(stays.every(({ ready }) => ready)).toBe(true);
    }),
  );
});

test('pauses double up to the longest and differ between replicas', () => {
  const limits = { firstMs: 250, longestMs: 30_000 };
  expect([1, 2, 3, 8, 40].map((n) => backoffMs(n, limits, () => 0))).toEqual([125, 250, 500, 15_000, 15_000]);
  expect([1, 2, 3, 8, 40].map((n) => backoffMs(n, limits, () => 1))).toEqual([
    250, 500, 1000, 30_000, 30_000,
  ]);
});
