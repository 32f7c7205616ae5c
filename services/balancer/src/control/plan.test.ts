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

test('one that is to be replaced serves until as many others answer as are wanted, or ends at once where it is urgent', () => {
  const retiring = fc.constantFrom(undefined, 'replaced' as const, 'urgent' as const);
  const list = fc
    .uniqueArray(
      fc.record({ slot: fc.nat(20), ready: fc.boolean(), draining: fc.boolean(), retiring, id: fc.uuid() }),
      { selector: ({ id }) => id, maxLength: 12 },
    )
    // The place of one that is to be replaced may be another's; any other place is one's own.
    .filter((all) => {
      const own = all.filter((each) => !each.draining && !each.retiring).map(({ slot }) => slot);
      return new Set(own).size === own.length;
    });
  fc.assert(
    fc.property(list, fc.nat(12), (all, wanted) => {
      const plan = planReplicas(wanted, all, () => 0, 1000);
      const running = all.filter(({ draining }) => !draining);
      const staying = running.filter((each) => !each.retiring);
      // Replacements are started for all of them, in places that nobody keeps.
      expect(plan.start.length).toBe(Math.max(0, wanted - staying.length));
      expect(plan.start.every((slot) => staying.every((each) => each.slot !== slot))).toBe(true);
      const ends = (each: PlannedReplica) => plan.drain.includes(each.id);
      expect(new Set(plan.drain).size).toBe(plan.drain.length);
      expect(all.filter((each) => each.draining).some(ends)).toBe(false);
      expect(running.filter((each) => each.retiring === 'urgent').every(ends)).toBe(true);
      expect(running.filter((each) => each.retiring && !each.ready).every(ends)).toBe(true);
      const serving = running.filter((each) => each.retiring === 'replaced' && each.ready);
      const answer = staying.filter(({ ready }) => ready).length;
      const left = serving.filter((each) => !ends(each)).length;
      expect(left).toBe(Math.min(serving.length, Math.max(0, wanted - answer)));
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
