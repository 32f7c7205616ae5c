import { create } from '@bufbuild/protobuf';
import { EndpointSchema } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { expect, test } from 'vitest';
import { PickCounts } from './pick-counts.ts';

const BASE = { model: 'models:/b/1.0.0', base: 'models:/b/1.0.0' };
const ADAPTER = { model: 'models:/a/1.0.0', base: 'models:/b/1.0.0' };
const endpoint = (id: string, runningTokens: bigint, adapterLoaded = true, cachedPrefixes: bigint[] = []) =>
  create(EndpointSchema, { id, weight: 1, adapterLoaded, load: { runningTokens, cachedPrefixes } });

test('work in hand and picks since count, and a missing adapter as much as it takes to load it', () => {
  const counts = new PickCounts();
  const busy = endpoint('1', 500n);
  const free = endpoint('2', 0n, false);
  expect(counts.cost(busy, ADAPTER, [])).toBeLessThan(counts.cost(free, ADAPTER, []));
  expect(counts.cost(busy, BASE, [])).toBeGreaterThan(counts.cost(free, BASE, []));
  for (let i = 0; i < 3; i++) counts.picked(busy);
  expect(counts.cost(busy, ADAPTER, [])).toBeGreaterThan(counts.cost(free, ADAPTER, []));
});

test('the longest beginning that is cached is worth what it spares', () => {
  const counts = new PickCounts();
  const cold = endpoint('1', 100n);
  const warm = endpoint('2', 300n, true, [7n, 8n]);
  expect(counts.cost(warm, BASE, [7n, 9n])).toBe(300 - 256 / 4);
  expect(counts.cost(warm, BASE, [7n, 8n, 9n])).toBe(300 - 1024 / 4);
  expect(counts.cost(warm, BASE, [7n, 8n])).toBeLessThan(counts.cost(cold, BASE, [7n, 8n]));
  expect(counts.cost(warm, BASE, [])).toBe(300);
});
