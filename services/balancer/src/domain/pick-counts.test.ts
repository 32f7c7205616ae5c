import { create } from '@bufbuild/protobuf';
import { EndpointSchema } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { expect, test } from 'vitest';
import { PickCounts } from './pick-counts.ts';

const asked = (model: string, ...prefixKeys: bigint[]) => ({
  target: { model: `models:/${model}/1.0.0`, base: 'models:/b/1.0.0' },
  prefixKeys,
});
const endpoint = (id: string, runningTokens: bigint, adapterLoaded = true, cachedPrefixes: bigint[] = []) =>
  create(EndpointSchema, { id, weight: 1, adapterLoaded, load: { runningTokens, cachedPrefixes } });

test('work in hand and picks since count, and a missing adapter as much as it takes to load it', () => {
  const counts = new PickCounts();
  const busy = endpoint('1', 500n);
  const free = endpoint('2', 0n, false);
  expect(counts.cost(busy, asked('a'))).toBeLessThan(counts.cost(free, asked('a')));
  expect(counts.cost(busy, asked('b'))).toBeGreaterThan(counts.cost(free, asked('b')));
  for (let i = 0; i < 3; i++) counts.picked(busy);
  expect(counts.cost(busy, asked('a'))).toBeGreaterThan(counts.cost(free, asked('a')));
});

test('the longest beginning that is cached is worth what it spares', () => {
  const counts = new PickCounts();
  const cold = endpoint('1', 100n);
  const warm = endpoint('2', 300n, true, [7n, 8n]);
  expect(counts.cost(warm, asked('b', 7n, 9n))).toBe(300 - 256 / 4);
  expect(counts.cost(warm, asked('b', 7n, 8n, 9n))).toBe(300 - 1024 / 4);
  expect(counts.cost(warm, asked('b', 7n, 8n))).toBeLessThan(counts.cost(cold, asked('b', 7n, 8n)));
  expect(counts.cost(warm, asked('b'))).toBe(300);
});

test('one of many that has the adapter, or the beginning, is found, unless it is far busier', () => {
  const cold = Array.from({ length: 9 }, (_, i) => endpoint(`${i}`, 50n, false));
  for (let i = 0; i < 20; i++) {
    const counts = new PickCounts();
    expect(counts.choose([...cold, endpoint('warm', 500n)], asked('a'))!.id).toBe('warm');
    expect(counts.choose([...cold, endpoint('warm', 200n, false, [7n, 8n])], asked('b', 7n, 8n))!.id).toBe(
      'warm',
    );
    expect(counts.choose([...cold, endpoint('warm', 5000n)], asked('a'))!.id).not.toBe('warm');
  }
  expect(new PickCounts().choose([], asked('b'))).toBeUndefined();
});
