/** The client against real gRPC servers in this process: a balancer that says what it is told to, and replicas. */

import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import {
  GetLoadRequestSchema,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { expect, test } from 'vitest';
import {
  type Answer,
  balancedClient,
  identity,
  MODEL,
  replica,
  TestBalancer,
  until,
} from '../../test/balanced-mesh.ts';
import { notFound, resourceExhausted, unavailable } from '../errors/errors.ts';
import type { BalancedClient } from './balanced-client.ts';

const TARGET = { deployment: 'qa' };

async function text(client: BalancedClient, prompt = 'x', options = {}): Promise<string> {
  let all = '';
  for await (const { delta } of client.generate(TARGET, { prompt }, options)) all += delta;
  return all;
}

test('asks for the model that the target stands for, over one stream for all calls of a tenant', async () => {
  const balancer = await new TestBalancer().start();
  const one = await replica('one');
  balancer.tell([[one]]);
  const client = balancedClient(balancer);
  expect(await Promise.all([1, 2, 3].map(() => text(client)))).toEqual(['fine', 'fine', 'fine']);
  expect(one.asked.map(({ model }) => model)).toEqual([MODEL, MODEL, MODEL]);
  expect(balancer.opened).toBe(1);
  expect(balancer.subjects).toEqual(['service:test@acme']);
  await text(client, 'x', { identity: { ...identity, tenant: 'other' } });
  expect(balancer.subjects).toEqual(['service:test@acme', 'service:test@other']);
});

test('calls go where less is to be done', async () => {
  const balancer = await new TestBalancer().start();
  const [busy, free] = [await replica('busy'), await replica('free')];
  balancer.tell([
    [busy, undefined, { load: { running: 12, runningTokens: 100_000n, maxBatch: 16 } }],
    [free, undefined, { load: { running: 1, runningTokens: 10n, maxBatch: 16 } }],
  ]);
  const client = balancedClient(balancer);
  for (let i = 0; i < 20; i++) await text(client);
  expect([busy.asked.length, free.asked.length]).toEqual([0, 20]);
});

test('what was just sent counts before the replica has told of it', async () => {
  const balancer = await new TestBalancer().start();
  const silent: Answer = async function* (_request, call) {
    await delay(600_000, undefined, { signal: call.signal });
    yield {};
  };
  const replicas = [await replica('a', silent), await replica('b', silent)];
  balancer.tell(replicas.map((each) => [each]));
  const client = balancedClient(balancer);
  const over = new AbortController();
  const calls = Array.from({ length: 10 }, () => text(client, 'x', { signal: over.signal }).catch(() => {}));
  await until(() => replicas[0]!.asked.length + replicas[1]!.asked.length === 10);
  expect(replicas.map(({ asked }) => asked.length)).toEqual([5, 5]);
  over.abort();
  await Promise.all(calls);
});

test('a replica that fails before it has answered is left for another', async () => {
  const balancer = await new TestBalancer().start();
  const bad = await replica('bad', async function* () {
    yield { model: MODEL };
    throw unavailable('the base is being loaded', { retryAfterMs: 1000 });
  });
  const good = await replica('good');
  balancer.tell([[bad], [good]]);
  const client = balancedClient(balancer);
  for (let i = 0; i < 12; i++) expect(await text(client)).toBe('fine');
  expect(good.asked.length).toBe(12);
});

test('a connection that is refused is a failure like any other', async () => {
  const balancer = await new TestBalancer().start();
  const dead = await replica('dead');
  await dead.server.drain(0);
  const good = await replica('good');
  balancer.tell([[dead], [good]]);
  const client = balancedClient(balancer);
  for (let i = 0; i < 5; i++) expect(await text(client)).toBe('fine');
});

test('an answer that has begun is never begun again', async () => {
  const balancer = await new TestBalancer().start();
  const cut: Answer = async function* () {
    yield { delta: 'half' };
    throw unavailable('gone');
  };
  const replicas = [await replica('a', cut), await replica('b', cut)];
  balancer.tell(replicas.map((each) => [each]));
  const client = balancedClient(balancer);
  const seen: string[] = [];
  const call = (async () => {
    for await (const { delta } of client.generate(TARGET, { prompt: 'x' })) seen.push(delta);
  })();
  await expect(call).rejects.toMatchObject({ code: status.UNAVAILABLE, reason: 'REPLICA_LOST' });
  expect(seen).toEqual(['half']);
  expect(replicas[0]!.asked.length + replicas[1]!.asked.length).toBe(1);
});

test('what a replica refuses is the answer, and is not asked of another', async () => {
  const balancer = await new TestBalancer().start();
  const full: Answer = async function* () {
    yield* [];
    throw resourceExhausted('the queue is full', { retryAfterMs: 700 });
  };
  const replicas = [await replica('a', full), await replica('b', full)];
  balancer.tell(replicas.map((each) => [each]));
  await expect(text(balancedClient(balancer))).rejects.toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
    retryAfterMs: 700,
  });
  expect(replicas[0]!.asked.length + replicas[1]!.asked.length).toBe(1);
});

test('retries stay within a fifth of the requests', async () => {
  const balancer = await new TestBalancer().start();
  const failing: Answer = async function* () {
    yield* [];
    throw unavailable('no');
  };
  // Many replicas, so that one that is not left alone is always there.
  const replicas = await Promise.all(Array.from({ length: 40 }, (_, i) => replica(`r${i}`, failing)));
  balancer.tell(replicas.map((each) => [each]));
  const client = balancedClient(balancer, { waitMs: 300 });
  const requests = 20;
  for (let i = 0; i < requests; i++) await text(client).catch(() => {});
  const asked = replicas.reduce((sum, each) => sum + each.asked.length, 0);
  // Three that a quiet client has in hand, and a fifth of the requests.
  expect(asked).toBeLessThanOrEqual(requests + requests / 5 + 3);
});

test('a replica that hangs is given up when the balancer says that it does not answer', async () => {
  const balancer = await new TestBalancer().start();
  let cancelled = false;
  const hung = await replica('hung', async function* (_request, call) {
    yield { model: MODEL };
    await delay(600_000, undefined, { signal: call.signal }).catch(() => {
      cancelled = true;
    });
  });
  balancer.tell([[hung]]);
  const client = balancedClient(balancer);
  const call = text(client);
  await until(() => hung.asked.length === 1);
  const good = await replica('good');
  balancer.tell([[hung, EndpointState.FAILED], [good]]);
  expect(await call).toBe('fine');
  await until(() => cancelled);
});

test('a caller that leaves ends the work of its replica', async () => {
  const balancer = await new TestBalancer().start();
  const ended: string[] = [];
  const long = await replica('long', async function* ({ prompt }, call) {
    try {
      for (;;) {
        yield { delta: 'x' };
        await delay(5, undefined, { signal: call.signal });
      }
    } finally {
      ended.push(prompt);
    }
  });
  balancer.tell([[long]]);
  const client = balancedClient(balancer);
  for await (const _ of client.generate(TARGET, { prompt: 'leaves' })) break;
  await until(() => ended.includes('leaves'));
  const over = new AbortController();
  const aborted = text(client, 'aborts', { signal: over.signal });
  await until(() => long.asked.length === 2);
  over.abort();
  await expect(aborted).rejects.toMatchObject({ code: status.CANCELLED });
  await expect(text(client, 'late', { timeoutMs: 100 })).rejects.toMatchObject({
    code: status.DEADLINE_EXCEEDED,
  });
  await until(() => ended.length === 3);
});

test('waits for a replica, but not longer than it is told to, and says when to come again', async () => {
  const balancer = await new TestBalancer().start();
  const slow = await replica('slow');
  balancer.tell([[slow, EndpointState.STARTING]]);
  const client = balancedClient(balancer, { waitMs: 2000 });
  const call = text(client);
  await delay(50);
  balancer.tell([[slow]]);
  expect(await call).toBe('fine');
  balancer.tell([[slow, EndpointState.DRAINING]]);
  await delay(50);
  await expect(text(balancedClient(balancer, { waitMs: 100 }))).rejects.toMatchObject({
    code: status.UNAVAILABLE,
    reason: 'NO_ENDPOINT',
    retryAfterMs: 1000,
  });
});

test('replicas known before go on being used while the balancer is away, and are watched again after', async () => {
  const balancer = await new TestBalancer().start();
  const one = await replica('one');
  balancer.tell([[one]]);
  const client = balancedClient(balancer);
  await text(client);
  await balancer.server.drain(0);
  expect(await text(client)).toBe('fine');
  const port = Number(balancer.address.split(':')[1]);
  const two = await replica('two');
  const next = await new TestBalancer().start(port);
  next.tell([[two]]);
  await until(() => next.watchers === 1);
  await until(() => two.asked.length === 0);
  while (two.asked.length === 0) await text(client);
});

test('a target that the balancer does not know is refused at once, and asked for anew by the next call', async () => {
  const balancer = await new TestBalancer().start();
  const one = await replica('one');
  balancer.refuse(notFound("there is no deployment 'qa'"));
  const client = balancedClient(balancer);
  await expect(text(client)).rejects.toMatchObject({ code: status.NOT_FOUND });
  balancer.refuse(undefined);
  balancer.tell([[one]]);
  expect(await text(client)).toBe('fine');
});

test('a target that nobody asks for is followed no more', async () => {
  const balancer = await new TestBalancer().start();
  balancer.tell([[await replica('one')]]);
  const client = balancedClient(balancer, { idleMs: 50 });
  await text(client);
  await until(() => balancer.watchers === 0);
  expect(await text(client)).toBe('fine');
});

test('other methods of a replica go the same way', async () => {
  const balancer = await new TestBalancer().start();
  balancer.tell([[await replica('one')]]);
  const client = balancedClient(balancer);
  const { getLoad } = TextInferenceService.method;
  const reply = await client.unary(TARGET, getLoad, create(GetLoadRequestSchema, {}));
  expect(reply).toMatchObject({ load: { running: 3 } });
});

test('a call everywhere reaches each replica that answers, and one that is lost is told beside the others', async () => {
  const balancer = await new TestBalancer().start();
  const [one, two, starting] = [await replica('1'), await replica('2'), await replica('3')];
  const client = balancedClient(balancer);
  const call = client.everywhere(TARGET, TextInferenceService.method.getLoad, create(GetLoadRequestSchema));
  // It waits until one answers, and leaves out what does not yet.
  balancer.tell([[starting, EndpointState.STARTING]]);
  balancer.tell([[one], [two], [starting, EndpointState.STARTING]]);
  expect((await call).map(({ status: ended }) => ended)).toEqual(['fulfilled', 'fulfilled']);
  expect([one.loads, two.loads, starting.loads]).toEqual([1, 1, 0]);
  await two.server.drain(0);
  const again = await client.everywhere(
    TARGET,
    TextInferenceService.method.getLoad,
    create(GetLoadRequestSchema),
  );
  expect(again.map(({ status: ended }) => ended)).toEqual(['fulfilled', 'rejected']);
});

test('whatever way a replica is asked, a deployment that is closed to the caller is not there', async () => {
  const balancer = await new TestBalancer().start();
  const one = await replica('one');
  balancer.tell([[one]]);
  const client = balancedClient(balancer);
  const { getLoad, watchLoad } = TextInferenceService.method;
  const ask = create(GetLoadRequestSchema);
  const each = (level: Role) => {
    const rights = [{ resource: 'deployments/qa', level, restricted: true }];
    const options = { identity: { ...identity, rights } };
    return [
      text(client, 'x', options),
      client.unary(TARGET, getLoad, ask, options),
      client.unary(TARGET, getLoad, ask, { ...options, hedge: true }),
      client.everywhere(TARGET, getLoad, ask, options),
      Array.fromAsync(client.serverStream(TARGET, watchLoad, create(watchLoad.input), options)),
    ];
  };
  for (const refused of await Promise.allSettled(each(Role.UNSPECIFIED)))
    expect(refused).toMatchObject({ status: 'rejected', reason: { code: status.NOT_FOUND } });
  expect([one.asked.length, one.loads, balancer.opened]).toEqual([0, 0, 0]);
  const answered = await Promise.allSettled(each(Role.INVOKER));
  const [generated, ...loads] = answered.map((each) =>
    each.status === 'fulfilled' ? each.value : each.reason,
  );
  expect([generated, one.asked.length, one.loads]).toEqual(['fine', 1, 3]);
  // The replica has no such method: it was asked.
  expect(loads[3]).toMatchObject({ code: status.UNIMPLEMENTED });
});
