import { create, type MessageInitShape, toJsonString } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { Broker } from '@landfall/common/events/broker.ts';
import { startNatsServer } from '@landfall/common/events/nats-server.ts';
import { checkHealth } from '@landfall/common/rpc/health-client.ts';
import { ModelReadySchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import {
  type GenerateRequest,
  GenerateRequestSchema,
  type GenerateResponse,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  fakeRunnerModule,
  logger,
  TestFolder,
  TestRegistry,
  TestReplica,
  testConfig,
  until,
  user,
} from './harness.ts';
import { writeTokenizer } from './tiny-model.ts';

const folder = new TestFolder();
const registry = new TestRegistry();
let replica: TestReplica;

beforeAll(async () => {
  writeTokenizer(folder.join('base'));
  for (const name of ['one', 'two', 'three', 'bad', 'draft', 'other']) writeTokenizer(folder.join(name));
  await registry.start();
  const base = 'models:/base/1.0.0';
  const add = (name: string, more = {}) =>
    registry.versions.push({
      name,
      version: '1.0.0',
      kind: Kind.ADAPTER,
      folder: folder.join(name),
      base,
      ...more,
    });
  add('base', { kind: Kind.BASE, base: '' });
  for (const name of ['one', 'two', 'three', 'bad']) add(name);
  add('draft', { state: VersionState.DRAFT });
  add('other', { base: 'models:/another/1.0.0' });
  registry.aliases.set('base@production', '1.0.0');
  registry.aliases.set('one@production', '1.0.0');
  replica = await TestReplica.start(config('main'));
});

afterAll(async () => {
  await replica[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

function config(home: string, more = {}) {
  const model = { name: 'base', version: '@production' };
  return testConfig(folder.join(home), {
    model,
    registryUrl: registry.address,
    runnerModule: fakeRunnerModule,
    ...more,
  });
}

type Init = MessageInitShape<typeof GenerateRequestSchema>;
const ask = (more: Init = {}): GenerateRequest => {
  const messages = [{ role: 'user', content: '高血压' }];
  return create(GenerateRequestSchema, {
    messages,
    sampling: { maxTokens: 8, ignoreEos: true },
    ...more,
  } as Init);
};

async function answer(request: GenerateRequest, target = replica): Promise<GenerateResponse[]> {
  return Array.fromAsync(target.client.generate(request));
}
const text = (replies: GenerateResponse[]) => replies.map((r) => r.delta).join('');

/** Messages, prompts and samplings that are wrong, with the field that the answer must name. */
const BAD: [string, Init, string][] = [
  ['no input', { messages: [] }, ''],
  ['both inputs', { prompt: 'x' }, ''],
  ['empty message', { messages: [{ role: 'user', content: '' }] }, 'messages[0].content'],
  ['only special tokens', { messages: [{ role: 'user', content: '<|end|><s>' }] }, 'messages[0].content'],
  [
    'an image for a model that reads none',
    { messages: [{ role: 'user', content: 'x', images: [new Uint8Array(8)] }] },
    'messages[0].images',
  ],
  [
    '17 images',
    { messages: [{ role: 'user', content: 'x', images: new Array(17).fill(new Uint8Array(1)) }] },
    'messages[0].images',
  ],
  [
    'an empty image',
    { messages: [{ role: 'user', content: 'x', images: [new Uint8Array(0)] }] },
    'messages[0].images[0]',
  ],
  ['a role of its own', { messages: [{ role: 'root', content: 'x' }] }, 'messages[0].role'],
  ['longer than the context', { messages: [], prompt: 'x'.repeat(500) }, 'prompt'],
  ['very long', { messages: [{ role: 'user', content: 'x'.repeat(1_000_000) }] }, 'messages'],
  ['max_tokens -1', { sampling: { maxTokens: -1 } }, 'sampling.max_tokens'],
  ['max_tokens 0', { sampling: { maxTokens: 0 } }, 'sampling.max_tokens'],
  ['max_tokens 2^31-1', { sampling: { maxTokens: 2 ** 31 - 1 } }, 'sampling.max_tokens'],
  ['NaN temperature', { sampling: { temperature: Number.NaN } }, 'sampling.temperature'],
  ['infinite temperature', { sampling: { temperature: Number.POSITIVE_INFINITY } }, 'sampling.temperature'],
  ['top_p 0', { sampling: { topP: 0 } }, 'sampling.top_p'],
  ['top_k -1', { sampling: { topK: -1 } }, 'sampling.top_k'],
  ['1e6 stop strings', { sampling: { stop: new Array(100_000).fill('x') } }, 'sampling.stop'],
  ['empty stop string', { sampling: { stop: [''] } }, 'sampling.stop[0]'],
  ['top_logprobs 1e9', { sampling: { topLogprobs: 1e9 } }, 'sampling.top_logprobs'],
  ['a path as model', { model: 'models:/../../etc/passwd' }, 'model'],
  ['an encoded path', { model: '..%2f..%2fx' }, 'model'],
];

describe('Generate', () => {
  test('streams text, names the model first, ends with reason, usage and load', async () => {
    const replies = await answer(ask());
    expect(replies[0]?.model).toBe('models:/base/1.0.0');
    expect(replies.slice(1).every((r) => r.model === '')).toBe(true);
    const last = replies.at(-1)!;
    expect(last.finishReason).toBe(FinishReason.LENGTH);
    expect(last.usage).toMatchObject({ inputTokens: 12, outputTokens: 8 });
    expect(last.usage!.timeToFirstTokenMs).toBeGreaterThan(0);
    expect(last.usage!.durationMs).toBeGreaterThanOrEqual(last.usage!.timeToFirstTokenMs);
    expect(last.load).toMatchObject({ base: 'models:/base/1.0.0', totalBlocks: 64, adapters: [] });
    expect(text(replies).isWellFormed()).toBe(true);
  });

  test('all of the load comes with the first and the last message, and its numbers at most between', async () => {
    const replies = await answer(ask({ sampling: { maxTokens: 100, ignoreEos: true } }));
    expect(replies.length).toBeGreaterThan(50);
    const whole = replies.filter(({ load }) => load && !load.numbersOnly);
    expect(whole).toEqual([replies[0], replies.at(-1)]);
    for (const { load } of whole) expect(load!.base).toBe('models:/base/1.0.0');
    for (const { load } of replies.slice(1, -1)) {
      if (load) expect(load).toMatchObject({ running: 1, base: '', adapters: [], cachedPrefixes: [] });
    }
  });

  test('log-probabilities carry text and bytes of each token', async () => {
    const replies = await answer(ask({ sampling: { maxTokens: 4, topLogprobs: 2, ignoreEos: true } }));
    const tokens = replies.flatMap((r) => r.logprobs);
    expect(tokens).toHaveLength(4);
    for (const token of tokens) {
      expect(token.top).toHaveLength(2);
      expect(token.bytes.length).toBeGreaterThan(0);
      expect(token.logprob).toBeLessThan(0);
    }
  });

  test('the same seed gives the same text whatever runs beside it, another seed another', async () => {
    const seeded = (seed: bigint) =>
      ask({ sampling: { maxTokens: 12, temperature: 1.5, seed, ignoreEos: true } });
    const alone = text(await answer(seeded(7n)));
    const [a, b, c] = await Promise.all([answer(seeded(7n)), answer(seeded(8n)), answer(ask())]);
    expect(text(a!)).toBe(alone);
    expect(text(b!)).not.toBe(alone);
    expect(c!.at(-1)?.finishReason).toBe(FinishReason.LENGTH);
  });

  test('a stop string ends the text before it', async () => {
    const free = text(await answer(ask()));
    const stop = [...free].slice(2, 4).join('');
    const replies = await answer(ask({ sampling: { maxTokens: 8, stop: [stop], ignoreEos: true } }));
    expect(text(replies)).toBe(free.slice(0, free.indexOf(stop)));
    expect(replies.at(-1)?.finishReason).toBe(FinishReason.STOP);
  });

  test('max_tokens is cut to what the context leaves', async () => {
    const replies = await answer(ask({ sampling: { maxTokens: 100_000, ignoreEos: true } }));
    expect(replies.at(-1)?.usage).toMatchObject({ inputTokens: 12, outputTokens: 128 - 12 });
  });

  test('bad input is INVALID_ARGUMENT by field, and other streams go on', async () => {
    const beside = answer(ask({ sampling: { maxTokens: 60, ignoreEos: true } }));
    for (const [what, request, field] of BAD) {
      const error = await answer(ask(request)).catch((e) => e);
      expect(error, what).toMatchObject({ code: status.INVALID_ARGUMENT });
      expect(
        error.fieldViolations.map((v: { field: string }) => v.field),
        what,
      ).toContain(field);
      expect(error.message, what).not.toMatch(/\/tmp|node_modules|\n *at /);
    }
    expect((await beside).at(-1)?.usage?.outputTokens).toBe(60);
  });

  test('a caller that leaves frees its place within one step', async () => {
    const before = (await replica.client.getLoad({})).load!.outputTokens;
    for await (const _ of replica.client.generate(ask({ sampling: { maxTokens: 110, ignoreEos: true } })))
      break;
    await until(async () => (await replica.client.getLoad({})).load!.running === 0);
    const { load } = await replica.client.getLoad({});
    expect(load).toMatchObject({ running: 0, queued: 0, freeBlocks: 64 });
    expect(Number(load!.outputTokens - before)).toBeLessThan(30);
  });

  test('a full queue refuses before work, with a time to come again', async () => {
    const abort = new AbortController();
    const long = () =>
      Array.fromAsync(
        replica.client.generate(ask({ sampling: { maxTokens: 100, ignoreEos: true } }), {
          signal: abort.signal,
        }),
      );
    const running = Array.from({ length: 8 }, long);
    await until(async () => {
      const { load } = await replica.client.getLoad({});
      return load!.running + load!.queued === 8;
    });
    const error = await answer(ask()).catch((e) => e);
    expect(error).toMatchObject({ code: status.RESOURCE_EXHAUSTED, reason: 'QUEUE_FULL' });
    expect(error.retryAfterMs).toBeGreaterThan(0);
    abort.abort();
    await Promise.allSettled(running);
    await until(async () => (await replica.client.getLoad({})).load!.running === 0);
    expect((await answer(ask())).at(-1)?.finishReason).toBe(FinishReason.LENGTH);
  });

  test('another tenant finds nothing, a viewer may not run', async () => {
    const as = (identity: typeof user) => Array.fromAsync(replica.client.generate(ask(), { identity }));
    await expect(as({ ...user, tenant: 'other' })).rejects.toMatchObject({ code: status.NOT_FOUND });
    await expect(as({ ...user, role: Role.VIEWER })).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
    });
  });
});

describe('adapters', () => {
  test('an adapter that is asked for is loaded while others run, and answers beside the base', async () => {
    const beside = answer(ask({ sampling: { maxTokens: 40, ignoreEos: true } }));
    const [base, tuned, alias] = await Promise.all([
      answer(ask()),
      answer(ask({ model: 'models:/one/1.0.0' })),
      answer(ask({ model: 'models:/one@production' })),
    ]);
    expect(tuned![0]?.model).toBe('models:/one/1.0.0');
    expect(text(tuned!)).not.toBe(text(base!));
    expect(text(alias!)).toBe(text(tuned!));
    expect((await beside).at(-1)?.usage?.outputTokens).toBe(40);
    expect((await replica.client.getLoad({})).load?.adapters).toEqual(['models:/one/1.0.0']);
  });

  test('LoadAdapter is safe to repeat; a full table gives the least used place away', async () => {
    expect(await replica.client.loadAdapter({ model: 'models:/two/1.0.0' })).toMatchObject({
      alreadyLoaded: false,
    });
    expect(await replica.client.loadAdapter({ model: 'models:/two/1.0.0' })).toMatchObject({
      alreadyLoaded: true,
    });
    await replica.client.loadAdapter({ model: 'models:/three/1.0.0' });
    expect((await replica.client.getLoad({})).load?.adapters).toEqual([
      'models:/two/1.0.0',
      'models:/three/1.0.0',
    ]);
    expect((await answer(ask({ model: 'models:/one/1.0.0' })))[0]?.model).toBe('models:/one/1.0.0');
  });

  test('a draft serves for evaluation, and again after it has changed', async () => {
    const model = 'models:/draft/1.0.0';
    expect(await replica.client.loadAdapter({ model })).toMatchObject({ model, alreadyLoaded: false });
    writeTokenizer(folder.join('draft'), { ownFile: true });
    expect(await replica.client.loadAdapter({ model })).toMatchObject({ model, alreadyLoaded: false });
    expect(await replica.client.unloadAdapter({ model })).toMatchObject({ unloaded: true });
    expect((await replica.client.getLoad({})).load?.adapters).not.toContain(model);
  });

  test('UnloadAdapter waits for the last request', async () => {
    const model = 'models:/one/1.0.0';
    const running = answer(ask({ model, sampling: { maxTokens: 40, ignoreEos: true } }));
    await until(async () => (await replica.client.getLoad({})).load!.running === 1);
    expect(await replica.client.unloadAdapter({ model })).toMatchObject({ unloaded: true });
    expect((await running).at(-1)?.usage?.outputTokens).toBe(40);
    expect(await replica.client.unloadAdapter({ model })).toMatchObject({ unloaded: false });
  });

  test('more adapters asked for than there is room: those that do not fit now are told to come again', async () => {
    const ask3 = (name: string) =>
      answer(ask({ model: `models:/${name}/1.0.0`, sampling: { maxTokens: 10, ignoreEos: true } }));
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => ask3(['one', 'two', 'three'][i % 3]!)),
    );
    const refused = results.filter((r) => r.status === 'rejected').map((r) => r.reason);
    for (const error of refused) expect(error.retryAfterMs).toBeGreaterThan(0);
    expect(results.length - refused.length).toBeGreaterThan(0);
    for (const name of ['one', 'two', 'three'])
      expect((await ask3(name)).at(-1)?.usage?.outputTokens).toBe(10);
  });

  test('what is not there, made for another base, or broken is told apart', async () => {
    const load = (model: string) => replica.client.loadAdapter({ model });
    await expect(load('models:/none/1.0.0')).rejects.toMatchObject({ code: status.NOT_FOUND });
    await expect(load('models:/other/1.0.0')).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
    await expect(load('models:/base/1.0.0')).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
    await expect(load('nonsense')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    const asked = answer(ask({ model: 'models:/none@production' }));
    await expect(asked).rejects.toMatchObject({ code: status.NOT_FOUND, reason: 'MODEL_NOT_FOUND' });
  });
});

describe('model.ready', () => {
  test('an adapter of the base is loaded by itself, others are left alone', async () => {
    await using nats = await startNatsServer({ folder: folder.join('nats') });
    await using other = await TestReplica.start(config('events', { natsUrl: nats.url }));
    await using broker = await Broker.connect(nats.url, 'test', logger);
    await until(async () => (await broker.manager.consumers.list('LANDFALL').next()).length === 1);
    const base = 'models:/base/1.0.0';
    const announce = async (event: MessageInitShape<typeof ModelReadySchema>) => {
      const full = create(ModelReadySchema, { tenant: 'default', kind: 'adapter', base, ...event });
      await broker.js.publish('landfall.registry.model.ready.v1', toJsonString(ModelReadySchema, full));
    };
    await announce({ ref: 'models:/other/1.0.0', base: 'models:/another/1.0.0' });
    await announce({ ref: 'models:/two/1.0.0', tenant: 'someone' });
    await announce({ ref: 'models:/gone/1.0.0' });
    await announce({ ref: 'models:/one/1.0.0' });
    await announce({ ref: 'models:/one/1.0.0' });
    await until(async () => (await other.client.getLoad({})).load!.adapters.length > 0);
    expect((await other.client.getLoad({})).load?.adapters).toEqual(['models:/one/1.0.0']);
  });
});

describe('WatchLoad', () => {
  test('tells the load now and after each change, and ends when the replica drains', async () => {
    await using other = await TestReplica.start(config('watch'));
    const seen: { running: number; finished: bigint }[] = [];
    const watching = (async () => {
      for await (const { load } of other.client.watchLoad({ intervalMs: 1 })) seen.push(load!);
    })();
    const ended = expect(watching).rejects.toMatchObject({ code: status.UNAVAILABLE });
    await until(() => seen.length > 0);
    await answer(ask(), other);
    await until(() => seen.some((l) => l.running === 1) && seen.at(-1)?.finished === 1n);
    await other.service[Symbol.asyncDispose]();
    await ended;
  });
});

describe('life', () => {
  test('ready only when the base is loaded; a drain lets running calls end and takes no new ones', async () => {
    const other = await TestReplica.start(config('drain'));
    expect(await checkHealth(other.address, 'readiness')).toBe(true);
    const running = answer(ask({ sampling: { maxTokens: 60, ignoreEos: true } }), other);
    await until(async () => (await other.client.getLoad({})).load!.running === 1);
    const stopped = other.service[Symbol.asyncDispose]();
    await until(async () => !(await checkHealth(other.address, 'readiness')));
    expect((await running).at(-1)?.usage?.outputTokens).toBe(60);
    await stopped;
    await expect(answer(ask(), other)).rejects.toMatchObject({ code: status.UNAVAILABLE });
    other.channel.close();
  });

  test('the base is fetched once, checked, and found again at the next start', async () => {
    await using first = await TestReplica.start(config('shared'));
    const { downloads } = registry;
    await using second = await TestReplica.start(config('shared'));
    expect([first.model, second.model]).toEqual(['models:/base/1.0.0', 'models:/base/1.0.0']);
    expect(registry.downloads).toBe(downloads);
  });

  test('a base that is an adapter or unknown says so at the start', async () => {
    const start = (name: string) => TestReplica.start(config('wrong', { model: { name, version: '1.0.0' } }));
    await expect(start('one')).rejects.toThrow('serve its base models:/base/1.0.0');
    await expect(start('nobody')).rejects.toThrow('the registry has no models:/nobody/1.0.0');
  });

  test('a local folder is served without a registry', async () => {
    const more = {
      registryUrl: '',
      modelFolder: folder.join('base'),
      model: { name: 'local', version: '0.0.0' },
    };
    await using local = await TestReplica.start(config('local', more));
    expect((await answer(ask(), local))[0]?.model).toBe('models:/local/0.0.0');
    const adapter = answer(ask({ model: 'models:/one/1.0.0' }), local);
    await expect(adapter).rejects.toMatchObject({ code: status.NOT_FOUND });
  });
});
