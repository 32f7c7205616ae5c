/** Canary, overflow and hedging, against real gRPC servers in this process. */

import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import {
  GetLoadRequestSchema,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { expect, test } from 'vitest';
import {
  type Answer,
  balancedClient,
  endpointOf,
  identity,
  MODEL,
  replica,
  TestBalancer,
  type TestReplica,
  until,
} from '../../test/balanced-mesh.ts';
import { internal, resourceExhausted } from '../errors/errors.ts';
import type { BalancedClient } from './balanced-client.ts';

const TARGET = { deployment: 'qa' };
const CANARY = 'models:/qa/2.0.0';
const REMOTE = 'models:/remote/1.0.0';
const FULL = { load: { running: 16, queued: 4, maxBatch: 16 } };

async function text(
  client: BalancedClient,
  request: object = { prompt: 'x' },
  options = {},
): Promise<string> {
  let all = '';
  for await (const { delta } of client.generate(TARGET, request, options)) all += delta;
  return all;
}

const canaryOf = (endpoint: TestReplica, weightPercent: number) => ({
  canary: { model: CANARY, weightPercent, endpoints: [endpointOf(endpoint)] },
});
const overflowTo = (endpoint: TestReplica, allowPersonalData = false) => ({
  overflow: { model: REMOTE, endpoints: [endpointOf(endpoint)], allowPersonalData },
});

test('a canary gets its share of one caller’s conversations, each always the same side, and outcomes are told in batches', async () => {
  const balancer = await new TestBalancer().start();
  const [stable, canary] = [await replica('stable'), await replica('canary')];
  canary.answer = async function* () {
    yield* [];
    throw internal('a broken canary', new Error('x'));
  };
  balancer.tell([[stable]], canaryOf(canary, 30));
  const client = balancedClient(balancer);
  const conversations = 200;
  const sides = new Map<number, number>();
  const caller = { ...identity, subject: 'key:1' };
  for (let turn = 0; turn < 2; turn++) {
    for (let i = 0; i < conversations; i++) {
      const before = canary.asked.length;
      const said = [`conversation ${i}`, 'an answer', 'another turn'].slice(0, 1 + 2 * turn);
      const messages = said.map((content, at) => ({ role: at % 2 === 0 ? 'user' : 'assistant', content }));
      await text(client, { messages }, { identity: caller }).catch(() => {});
      sides.set(i, (sides.get(i) ?? 0) + canary.asked.length - before);
    }
  }
  expect([...sides.values()].every((count) => count === 0 || count === 2)).toBe(true);
  // 60 of 200 expected; six standard deviations are 39.
  const share = canary.asked.length / 2;
  expect(share).toBeGreaterThan(20);
  expect(share).toBeLessThan(100);
  expect(canary.asked.every(({ model }) => model === CANARY)).toBe(true);
  expect(stable.asked.every(({ model }) => model === MODEL)).toBe(true);
  const told = (model: string) =>
    balancer.reports
      .filter((report) => report.model === model)
      .reduce((sum, { calls, errors }) => [sum[0]! + Number(calls), sum[1]! + Number(errors)], [0, 0]);
  await until(() => told(MODEL)[0] === stable.asked.length && told(CANARY)[0] === canary.asked.length);
  expect(told(MODEL)[1]).toBe(0);
  expect(told(CANARY)[1]).toBe(canary.asked.length);
  expect(balancer.reports.length).toBeLessThan(20);
});

test('a canary that has left is no loss: its callers get the stable model', async () => {
  const balancer = await new TestBalancer().start();
  const [stable, canary] = [await replica('stable'), await replica('canary')];
  await canary.server.drain(0);
  balancer.tell([[stable]], canaryOf(canary, 100));
  const client = balancedClient(balancer);
  for (let i = 0; i < 5; i++) expect(await text(client)).toBe('fine');
  expect(stable.asked.length).toBe(5);
});

test('what has no room goes elsewhere, unless its text must not leave', async () => {
  const balancer = await new TestBalancer().start();
  const [own, remote] = [await replica('own'), await replica('remote')];
  balancer.tell([[own, undefined, FULL]], overflowTo(remote));
  const client = balancedClient(balancer, { mayLeave: (part) => !part.includes('secret') });
  await text(client, { prompt: 'public' });
  expect(remote.asked.map(({ model }) => model)).toEqual([REMOTE]);
  const kept = [
    { prompt: 'a secret' },
    {
      messages: [
        { role: 'system', content: 'secret' },
        { role: 'user', content: 'x' },
      ],
    },
    { prompt: 'x', sampling: { stop: ['secret'] } },
    { prompt: 'x', constraint: { kind: { case: 'choice' as const, value: { options: ['secret'] } } } },
    { prompt: 'x', constraint: { kind: { case: 'jsonSchema' as const, value: '{"const":"secret"}' } } },
  ];
  for (const request of kept) await text(client, request);
  expect([own.asked.length, remote.asked.length]).toEqual([kept.length, 1]);
  // A client that was given no rule lets nothing leave; a deployment may allow all of it.
  await text(balancedClient(balancer), { prompt: 'public' });
  expect(remote.asked.length).toBe(1);
  balancer.tell([[own, undefined, FULL]], overflowTo(remote, true));
  const other = balancedClient(balancer);
  await text(other, { prompt: 'a secret' });
  expect(remote.asked.length).toBe(2);
});

test('own replicas come first while they have room, and a refusal of theirs goes elsewhere', async () => {
  const balancer = await new TestBalancer().start();
  const [own, remote] = [await replica('own'), await replica('remote')];
  const answers = own.answer;
  balancer.tell([[own]], overflowTo(remote));
  const client = balancedClient(balancer, { mayLeave: () => true });
  await text(client);
  expect([own.asked.length, remote.asked.length]).toEqual([1, 0]);
  const full: Answer = async function* () {
    yield* [];
    throw resourceExhausted('the queue is full', { retryAfterMs: 200 });
  };
  own.answer = full;
  expect(await text(client)).toBe('fine');
  expect(await text(client)).toBe('fine');
  // The second was not even asked there.
  expect([own.asked.length, remote.asked.length]).toEqual([2, 2]);
  own.answer = answers;
  while (own.asked.length === 2) await text(client);
});

test('a slow unary call is made once more elsewhere, and only within the budget', async () => {
  const balancer = await new TestBalancer().start();
  const replicas = [await replica('a'), await replica('b')];
  balancer.tell(replicas.map((each) => [each]));
  const client = balancedClient(balancer);
  const { getLoad } = TextInferenceService.method;
  const call = (hedge = true) => client.unary(TARGET, getLoad, create(GetLoadRequestSchema, {}), { hedge });
  // Not hedged, or a busy machine has spent the budget before it counts.
  for (let i = 0; i < 40; i++) await call(false);
  const before = replicas.map(({ loads }) => loads);
  // The next one that is asked hangs, whichever it is, until the other has answered.
  let hung = 0;
  for (const each of replicas) {
    each.beforeLoad = async () => {
      if (hung++ === 0) await delay(600_000, undefined, { ref: false });
    };
  }
  await call();
  expect(replicas.map(({ loads }, i) => loads - before[i]!)).toEqual([1, 1]);
  // All hang a little: two of a call at most, and no more than the budget has.
  const from = replicas.reduce((sum, { loads }) => sum + loads, 0);
  for (const each of replicas) each.beforeLoad = () => delay(30);
  const calls = 50;
  for (let i = 0; i < calls; i++) await call();
  const made = replicas.reduce((sum, { loads }) => sum + loads, 0) - from;
  expect(made).toBeLessThanOrEqual(calls * 1.2 + 10);
});
