import { create } from '@bufbuild/protobuf';
import { EndpointSchema, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { expect, test } from 'vitest';
import type { Ask } from './cost.ts';
import { BalancingPolicy, type Candidate } from './policy.ts';
import { EndpointTally, type Passage } from './tally.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
process.stdout.write(`policy: LANDFALL_TEST_SEED=${seed}\n`);

/** Numerical Recipes' generator, uniform in [0, 1). */
function generator(): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const SHORT: Ask = { promptTokens: 100, outputTokens: 64, prefixKeys: [] };

function candidate(load: object = {}, adapterLoaded = true): Candidate {
  const tally = new EndpointTally();
  tell(tally, load);
  return { tally, adapterLoaded };
}

function tell(tally: EndpointTally, load: object, nowMs = 0): void {
  const all = { running: 2, stepMs: 40, maxBatch: 16, finished: 100n, outputTokens: 6400n, ...load };
  tally.update(create(EndpointSchema, { state: EndpointState.READY, weight: 1, load: all }), nowMs);
}

/** A caller that makes calls one by one, each at its own moment, against replicas that take this long a message. */
class Caller {
  readonly policy = new BalancingPolicy(generator());
  readonly all: Candidate[];
  readonly counts: number[];
  nowMs = 1000;

  constructor(count: number) {
    this.all = Array.from({ length: count }, () => candidate());
    this.counts = new Array<number>(count).fill(0);
  }

  /** @returns which one was asked */
  call(waitMs: (at: number) => number, fails: (at: number) => boolean = () => false): number {
    const chosen = this.policy.choose(this.all, SHORT, this.nowMs);
    if (!chosen) return -1;
    const at = this.all.indexOf(chosen);
    const { tally } = chosen;
    const passage = tally.begin(this.nowMs, SHORT);
    this.counts[at]!++;
    for (let token = 0; token < 4; token++) this.#hear(tally, passage, waitMs(at));
    const outcome = fails(at) ? 'failed' : 'answered';
    this.policy.ended(tally, passage, outcome, this.all, this.nowMs);
    return at;
  }

  #hear(tally: EndpointTally, passage: Passage, ms: number): void {
    this.nowMs += ms;
    passage.reported(undefined, this.nowMs);
    this.policy.waited({ tally, passage, kind: 'Generate', ms }, this.all, this.nowMs);
    tell(tally, {}, this.nowMs);
  }
}

test('a cached beginning draws requests, and no more of them than it saves', () => {
  const keys = [1n, 2n];
  const policy = new BalancingPolicy(generator());
  const has = candidate({ cachedPrefixes: [2n, 1n] });
  const others = [candidate(), candidate(), candidate()];
  const ask: Ask = { promptTokens: 300, outputTokens: 64, prefixKeys: keys };
  expect(policy.choose([...others, has], ask, 0)).toBe(has);
  // Without its keys the request has no reason to prefer it.
  tell(has.tally, { cachedPrefixes: [2n, 1n], running: 3 });
  expect(policy.choose([...others, has], { ...ask, prefixKeys: [7n] }, 0)).not.toBe(has);
  // A hot beginning: all requests have it, and none is ever answered.
  let sent = 0;
  for (let i = 0; i < 40; i++) {
    const chosen = policy.choose([...others, has], ask, 0)!;
    chosen.tally.begin(0, ask);
    if (chosen === has) sent++;
  }
  expect(sent).toBeGreaterThanOrEqual(10);
  expect(sent).toBeLessThan(20);
});

test('a replica that has the adapter comes first, and one that can not be asked never', () => {
  const policy = new BalancingPolicy(generator());
  const [without, busy] = [candidate({}, false), candidate({ running: 12 })];
  expect(policy.choose([without, busy], SHORT, 0)).toBe(busy);
  // To load it takes less than to wait for so many.
  tell(busy.tally, { running: 16, queued: 40, queuedTokens: 4000n });
  expect(policy.choose([without, busy], SHORT, 0)).toBe(without);
  tell(busy.tally, { running: 12 });
  busy.tally.eject(0);
  expect(policy.choose([without, busy], SHORT, 1)).toBe(without);
  without.tally.update(create(EndpointSchema, { state: EndpointState.DRAINING }), 0);
  expect(policy.choose([without, busy], SHORT, 1)).toBeUndefined();
});

test('one that lets wait ten times as long is left alone, is tried now and then, and returns when it is well', () => {
  const caller = new Caller(4);
  let slowness = 10;
  const waitMs = (at: number) => (at === 0 ? 40 * slowness : 40);
  for (let i = 0; i < 100; i++) caller.call(waitMs);
  expect(caller.policy.ejections).toBeGreaterThan(0);
  const before = caller.counts[0]!;
  for (let i = 0; i < 1000; i++) caller.call(waitMs);
  const probes = caller.counts[0]! - before;
  expect(probes).toBeGreaterThan(0);
  expect(probes).toBeLessThan(20);
  slowness = 1;
  const from = caller.counts[0]!;
  for (let i = 0; i < 2000; i++) caller.call(waitMs);
  expect(caller.counts[0]! - from).toBeGreaterThan(100);
});

test('one that fails more than its peers is left alone; where all fail alike, none is', () => {
  const one = new Caller(4);
  // Every second call of each replica: by chance alone one of them would now and then fail more than its peers.
  const turns = new Map<number, number>();
  const often = (at: number) => {
    turns.set(at, (turns.get(at) ?? 0) + 1);
    return turns.get(at)! % 2 === 0;
  };
  for (let i = 0; i < 400; i++)
    one.call(
      () => 40,
      (at) => at === 2 && often(at),
    );
  expect(one.policy.ejections).toBeGreaterThan(0);
  expect(one.counts[2]).toBeLessThan(100);
  const all = new Caller(4);
  for (let i = 0; i < 400; i++) all.call(() => 40, often);
  expect(all.policy.ejections).toBe(0);
});

test('at most half of them are left alone as outliers', () => {
  const caller = new Caller(4);
  const bad = (at: number) => at < 3;
  for (let i = 0; i < 400; i++) {
    caller.call(() => 40, bad);
    const alone = caller.all.filter(({ tally }) => tally.onProbation).length;
    expect(alone).toBeLessThanOrEqual(2);
  }
});

test('one that says nothing is passed by while others speak', () => {
  const policy = new BalancingPolicy(generator());
  const [mute, busy] = [candidate({ running: 0 }), candidate({ running: 12 })];
  expect(policy.choose([mute, busy], SHORT, 0)).toBe(mute);
  mute.tally.begin(0, SHORT);
  expect(policy.choose([mute, busy], SHORT, 500)).toBe(mute);
  expect(policy.choose([mute, busy], SHORT, 2000)).toBe(busy);
  busy.tally.begin(0, SHORT);
  expect(policy.choose([mute, busy], SHORT, 2000)).toBe(mute);
});

test('a probe keeps nobody waiting where there is no other', () => {
  const policy = new BalancingPolicy(generator());
  const [lone, other] = [candidate(), candidate()];
  lone.tally.eject(0);
  lone.tally.begin(1000, SHORT);
  expect(policy.choose([lone, other], SHORT, 1100)).toBe(other);
  expect(policy.choose([lone], SHORT, 1100)).toBe(lone);
});

test('of many replicas, the one that has the adapter or the beginning is found', () => {
  const policy = new BalancingPolicy(generator());
  const many = Array.from({ length: 40 }, () => candidate({}, false));
  const loaded = candidate();
  for (let i = 0; i < 20; i++) expect(policy.choose([...many, loaded], SHORT, 0)).toBe(loaded);
  const ask: Ask = { promptTokens: 3000, outputTokens: 64, prefixKeys: [1n, 2n, 3n] };
  const others = Array.from({ length: 40 }, () => candidate());
  const has = candidate({ cachedPrefixes: [3n] });
  for (let i = 0; i < 20; i++) expect(policy.choose([...others, has], ask, 0)).toBe(has);
});
