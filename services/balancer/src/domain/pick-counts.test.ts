import { create } from '@bufbuild/protobuf';
import { EndpointSchema } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { expect, test } from 'vitest';
import { PickCounts } from './pick-counts.ts';

const endpoint = (id: string, load: object, adapterLoaded = true) =>
  create(EndpointSchema, { id, weight: 1, adapterLoaded, load: { stepMs: 50, maxBatch: 16, ...load } });
const idOf = (counts: PickCounts, endpoints: ReturnType<typeof endpoint>[], keys: bigint[] = []) =>
  counts.choose(endpoints, keys)?.id;

test('work in hand and picks since the last report count, and a report begins anew', () => {
  const counts = new PickCounts();
  const [busy, free] = [endpoint('busy', { running: 3 }), endpoint('free', {})];
  const picks = Array.from({ length: 7 }, () => idOf(counts, [busy, free]));
  // What was picked has prompts to be computed too, which the requests of a report have behind them.
  expect(picks.slice(0, 2)).toEqual(['free', 'free']);
  expect(picks).toContain('busy');
  const told = endpoint('busy', { running: 12 });
  expect(idOf(counts, [told, endpoint('free', {})])).toBe('free');
});

test('a replica whose steps take longer gets fewer picks', () => {
  const counts = new PickCounts();
  const both = [endpoint('slow', { stepMs: 200 }), endpoint('fast', {})];
  const picks = Array.from({ length: 20 }, () => idOf(counts, both));
  expect(picks.filter((id) => id === 'slow').length).toBeLessThan(5);
});

test('one of many that has the adapter, or the beginning, is found, unless it is far busier', () => {
  const cold = Array.from({ length: 20 }, (_, i) => endpoint(`${i}`, { running: 1 }, false));
  const keys = [7n, 8n, 9n];
  for (let i = 0; i < 20; i++) {
    expect(idOf(new PickCounts(), [...cold, endpoint('warm', { running: 4 })])).toBe('warm');
    const warm = endpoint('warm', { running: 3, cachedPrefixes: [7n, 8n, 9n] }, false);
    expect(idOf(new PickCounts(), [...cold, warm], keys)).toBe('warm');
    expect(idOf(new PickCounts(), [...cold, endpoint('warm', { running: 16, queued: 40 })])).not.toBe('warm');
  }
  expect(new PickCounts().choose([], [])).toBeUndefined();
});
