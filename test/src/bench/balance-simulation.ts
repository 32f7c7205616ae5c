/** A discrete-event simulation of callers and replicas: virtual time, the policy's real code, chance from a seed. */

import { create } from '@bufbuild/protobuf';
import type { Ask } from '@landfall/common/balancing/cost.ts';
import { BalancingPolicy } from '@landfall/common/balancing/policy.ts';
import { EndpointTally, type Passage } from '@landfall/common/balancing/tally.ts';
import { EndpointSchema, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { LoadNews } from '@landfall/text-inference/load-news.ts';
import { type Job, SimulatedReplica } from './balance-engine.ts';
import type { WorkItem } from './balance-workload.ts';

/** How the callers of a run choose. */
export type Choice = 'policy' | 'two choices' | 'full scan' | 'round robin' | 'random';

export interface Setting {
  choice: Choice;
  replicas: number;
  /** Processes that call, each with its own view. */
  callers: number;
  /** How many times slower each replica is; 1 where not given. */
  slowness?: readonly number[];
  work: readonly WorkItem[];
  random: () => number;
  /** Callers know nothing of cached beginnings, although replicas keep them. */
  blind?: boolean;
}

export interface Result {
  jobs: Job[];
  /** Requests that each replica got. */
  shares: number[];
  /** Times that a caller left a replica alone as an outlier. */
  ejections: number;
  savedTokens: number;
}

/** How often the balancer hears of loads, and tells what it heard last; a message takes a millisecond. */
const WATCH_MS = 250;
const MESSAGE_MS = 1;

interface Caller {
  candidates: { tally: EndpointTally; adapterLoaded: boolean; at: number }[];
  policy: BalancingPolicy;
  /** Of its round robin. */
  turn: number;
}

interface Sent {
  caller: Caller;
  passage: Passage;
  tally: EndpointTally;
  heardMs: number;
  /** What of the replica's load its stream has told. */
  news: LoadNews;
}

export function simulate(setting: Setting): Result {
  const { random, work } = setting;
  const replicas = Array.from({ length: setting.replicas }, (_, i) => {
    const replica = new SimulatedReplica();
    replica.slowness = setting.slowness?.[i] ?? 1;
    return replica;
  });
  const callers = Array.from({ length: setting.callers }, () => caller(setting, replicas));

  const shares = new Array<number>(replicas.length).fill(0);
  const sent = new Map<Job, Sent>();
  const jobs: Job[] = [];
  const events = new EventQueue();

  const step = (at: number, nowMs: number) => {
    const replica = replicas[at]!;
    const ms = replica.begin();
    if (ms > 0) events.add(nowMs + ms, (endMs) => ended(at, endMs));
  };
  const ended = (at: number, nowMs: number) => {
    const replica = replicas[at]!;
    const told = replica.end(nowMs);
    const { load, prefixes } = replica;
    events.add(nowMs + MESSAGE_MS, (atMs) => {
      for (const job of told) hear(job, load, prefixes, atMs);
    });
    step(at, nowMs);
  };
  const hear = (job: Job, load: SimulatedReplica['load'], prefixes: number, nowMs: number) => {
    const { caller: from, passage, tally, heardMs, news } = sent.get(job)!;
    const part = news.next({ ...load, queuedTokens: Number(load.queuedTokens) }, prefixes, job.endMs > 0);
    passage.reported(part === 'nothing' ? undefined : { ...load, numbersOnly: part === 'numbers' }, nowMs);
    const kind = job.firstMs + MESSAGE_MS >= nowMs ? 'first' : 'next';
    const wait = { tally, passage, kind, ms: nowMs - heardMs };
    if (kind === 'next') from.policy.waited(wait, from.candidates, nowMs);
    sent.get(job)!.heardMs = nowMs;
    if (job.endMs === 0 || job.endMs + MESSAGE_MS > nowMs || job.outputLeft > 0) return;
    from.policy.ended(tally, passage, 'answered', from.candidates, nowMs);
    sent.delete(job);
  };
  const arrive = (item: WorkItem, nowMs: number) => {
    const { promptTokens, outputTokens, keys } = item;
    const job: Job = {
      ...{ arrivedMs: nowMs, promptTokens, outputTokens, keys },
      ...{ promptLeft: promptTokens, outputLeft: outputTokens, firstMs: 0, endMs: 0 },
    };
    jobs.push(job);
    const from = callers[Math.floor(random() * callers.length)]!;
    const ask: Ask = { promptTokens, outputTokens: item.maxTokens, prefixKeys: setting.blind ? [] : keys };
    const at = choose(setting.choice, from, ask, nowMs, random);
    shares[at]!++;
    const { tally } = from.candidates[at]!;
    const passage = tally.begin(nowMs, ask);
    sent.set(job, { caller: from, tally, passage, heardMs: nowMs, news: new LoadNews() });
    const replica = replicas[at]!;
    replica.add(job);
    if (replica.isIdle) step(at, nowMs);
  };

  for (const item of work) events.add(item.atMs, (nowMs) => arrive(item, nowMs));
  const lastMs = work[work.length - 1]!.atMs;
  let heard = replicas.map(({ load }) => load);
  const watch = (nowMs: number) => {
    const loads = heard;
    heard = replicas.map(({ load }) => load);
    for (const each of callers)
      for (const { tally, at } of each.candidates)
        tally.update({ state: EndpointState.READY, load: loads[at]!, weight: 1 }, nowMs);
    if (nowMs < lastMs || sent.size > 0) events.add(nowMs + WATCH_MS, watch);
  };
  events.add(0, watch);
  events.run();
  const ejections = callers.reduce((sum, { policy }) => sum + policy.ejections, 0);
  return { jobs, shares, ejections, savedTokens: replicas.reduce((sum, r) => sum + r.savedTokens, 0) };
}

function caller({ choice, random }: Setting, replicas: readonly SimulatedReplica[]): Caller {
  const candidates = replicas.map((_, at) => {
    const tally = new EndpointTally();
    tally.update(create(EndpointSchema, { state: EndpointState.READY, weight: 1 }), 0);
    return { tally, adapterLoaded: true, at };
  });
  const scanUpTo =
    choice === 'two choices' ? 1 : choice === 'full scan' ? Number.POSITIVE_INFINITY : undefined;
  return {
    candidates,
    policy: new BalancingPolicy(random, scanUpTo),
    turn: Math.floor(random() * replicas.length),
  };
}

/** @returns index of the replica */
function choose(choice: Choice, caller: Caller, ask: Ask, nowMs: number, random: () => number): number {
  const { candidates, policy } = caller;
  if (choice === 'round robin') return caller.turn++ % candidates.length;
  if (choice === 'random') return Math.floor(random() * candidates.length);
  return (policy.choose(candidates, ask, nowMs) ?? candidates[0]!).at;
}

type Event = { atMs: number; order: number; run: (nowMs: number) => void };

/** A binary heap by time; what was added first goes first of those at the same moment. */
class EventQueue {
  readonly #heap: Event[] = [];
  #order = 0;

  add(atMs: number, run: (nowMs: number) => void): void {
    const event = { atMs, order: this.#order++, run };
    const heap = this.#heap;
    let i = heap.length;
    heap.push(event);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  run(): void {
    for (let event = this.#take(); event; event = this.#take()) event.run(event.atMs);
  }

  #take(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (heap.length === 0 || !last) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
