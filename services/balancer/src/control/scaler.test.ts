import { create } from '@bufbuild/protobuf';
import { LoadSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { expect, test } from 'vitest';
import type { Deployment } from '../db/entities.ts';
import { changesOf, Scaler, type ScalingChange, withChange } from './scaler.ts';

const row = (replicas: number, more: Partial<Deployment> = {}) =>
  ({
    replicas,
    minReplicas: 0,
    maxReplicas: 3,
    scaling: '{"idleS":10}',
    decisions: '',
    ...more,
  }) as Deployment;
const load = (running: number) => create(LoadSchema, { running, maxBatch: 4, stepMs: 20 });

test('what sleeps sleeps on after a restart, wakes when it is asked for, and stays up while it is watched', () => {
  const scaler = new Scaler();
  const startMs = Date.now();
  expect(scaler.look('a', row(0), [], startMs)).toBeUndefined();
  scaler.asked('a');
  expect(scaler.look('a', row(0), [], startMs)).toMatchObject({ from: 0, to: 1, reason: 'a caller asked' });
  const release = scaler.watched('a');
  expect(scaler.look('a', row(1), [load(0)], startMs + 60_000)).toBeUndefined();
  release();
  expect(scaler.look('a', row(1), [load(0)], startMs + 75_000)).toMatchObject({ from: 1, to: 0 });
});

test('what runs when the balancer starts stays for the idle time, and while it works', () => {
  const scaler = new Scaler();
  expect(scaler.look('a', row(1), [load(0)], 1000)).toBeUndefined();
  expect(scaler.look('a', row(1), [load(1)], 10_000)).toBeUndefined();
  expect(scaler.look('a', row(1), [load(0)], 19_999)).toBeUndefined();
  expect(scaler.look('a', row(1), [load(0)], 20_000)).toMatchObject({ to: 0 });
});

test('the last twenty changes are kept, the newest first', () => {
  let decisions = '';
  for (let ms = 1; ms <= 30; ms++) {
    const change: ScalingChange = { ms, from: 1, to: 2, reason: 'test' };
    decisions = withChange(row(1, { decisions }), change);
  }
  const kept = changesOf({ decisions });
  expect(kept).toHaveLength(20);
  expect(kept[0]!.ms).toBe(30);
  expect(changesOf({ decisions: '' })).toEqual([]);
});
