import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import { CollectionService } from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generator, testSeed } from '../../graph/test/random.ts';
import { writeClipModel } from './clip-model.ts';
import { FolderRegistry } from './folder-registry.ts';
import { bomb, frames } from './hostile-images.ts';
import { randomPicture } from './pictures.ts';
import { type Stage, stage } from './stage.ts';

const random = generator(testSeed('bad inputs of Embed and Search'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-embed-bad-'));
const registry = new FolderRegistry();
const model = 'models:/clip/1.0.0';
const collection = 'things';
let at: Stage | undefined;
let collections: RpcClient<typeof CollectionService>;
let good: { content: Uint8Array };

/** Folders of a CLIP whose files do not say what they hold. */
const BROKEN: Record<string, (path: string) => void> = {
  truncated: (path) => {
    const weights = readFileSync(join(path, 'model.safetensors'));
    writeFileSync(join(path, 'model.safetensors'), weights.subarray(0, weights.length - 200));
  },
  'header-of-2-60': (path) => {
    const weights = readFileSync(join(path, 'model.safetensors'));
    weights.writeBigUInt64LE(2n ** 60n);
    writeFileSync(join(path, 'model.safetensors'), weights);
  },
  'shapes-beyond-the-file': (path) => {
    const config = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'));
    config.text_config.vocab_size = 1e9;
    writeFileSync(join(path, 'config.json'), JSON.stringify(config));
  },
  'no-tokenizer': (path) => rmSync(join(path, 'tokenizer.json')),
  'torn-tokenizer': (path) => writeFileSync(join(path, 'tokenizer.json'), '{"model":'),
};

beforeAll(async () => {
  writeClipModel(join(folder, 'clip'));
  registry.folders.set('clip/1.0.0', join(folder, 'clip'));
  for (const [name, spoil] of Object.entries(BROKEN)) {
    mkdirSync(join(folder, name));
    cpSync(join(folder, 'clip'), join(folder, name), { recursive: true });
    spoil(join(folder, name));
    registry.folders.set(`${name}/1.0.0`, join(folder, name));
  }
  at = await stage({}, async (signer) => ({
    LANDFALL_REGISTRY_URL: await registry.start(signer),
    LANDFALL_VISION_THREADS: '1',
  }));
  if (!at) return;
  collections = at.channel.client(CollectionService);
  good = { content: await randomPicture(random) };
  await collections.createCollection({ collection, model });
  const metadata = { colour: '红', price: '10' };
  await collections.putEntries({ collection, entries: [{ id: 'good', image: good, metadata }] });
}, 60_000);
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function refusal(call: Promise<unknown>, what: string): Promise<LandfallError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof LandfallError)) throw error ?? new Error(`${what} was not refused`);
  expect(error.message, what).not.toMatch(new RegExp(`${folder}|node_modules|onnxruntime|vips|\\n\\s+at `));
  return error;
}

/** What is asked of the service all the while is answered as ever. */
async function serves(): Promise<void> {
  const { matches } = await at!.vision.search({ collection, image: good });
  expect(matches[0]).toMatchObject({ id: 'good' });
  expect(matches[0]!.score).toBeCloseTo(1, 4);
}

test('a picture that must not be decoded, or is an address, is refused by its field wherever it stands', async (t) => {
  if (!at) return t.skip();
  const { vision } = at;
  const texts = [
    'http://127.0.0.1:1/',
    'file:///etc/passwd',
    'http://ok.example\\@127.0.0.1/',
    'data:image/png;base64,AA',
  ];
  const hostile: [string, Uint8Array][] = [
    ['a bomb', bomb(20_000, 20_000)],
    ['10,000 frames', frames(10_000)],
    ['nothing', new Uint8Array()],
    ...texts.map((text): [string, Uint8Array] => [text, Buffer.from(text)]),
  ];
  await serves();
  const before = process.memoryUsage().rss;
  for (const [what, content] of hostile) {
    const bad = { content };
    const calls: [string, () => Promise<unknown>][] = [
      ['images[1].content', () => vision.embed({ model, images: [good, bad] })],
      ['image.content', () => vision.search({ collection, image: bad, text: 'a' })],
      [
        'entries[1].image.content',
        () =>
          collections.putEntries({
            collection,
            entries: [
              { id: 'a', text: 'a' },
              { id: 'b', image: bad },
            ],
          }),
      ],
    ];
    for (const [field, call] of calls) {
      const error = await refusal(call(), `${what} in ${field}`);
      expect(error, `${what} in ${field}`).toMatchObject({ code: status.INVALID_ARGUMENT });
      expect(error.fieldViolations.map((one) => one.field)).toEqual([field]);
    }
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  // Nothing of a refused put is there.
  expect((await collections.getCollection({ collection })).collection!.entries).toBe(1n);
  await serves();
});

test('numbers, names and filters out of bounds are refused before anything is embedded', async (t) => {
  if (!at) return t.skip();
  const { vision } = at;
  const many = <T>(count: number, one: T) => Array.from({ length: count }, () => one);
  const text = 'a';
  const equals = (key: string) => ({ condition: { case: 'equals' as const, value: { key, value: 'x' } } });
  const range = (bounds: object) => ({
    condition: { case: 'range' as const, value: { key: 'price', ...bounds } },
  });
  const calls: Record<string, () => Promise<unknown>> = {
    'top_k of 1e9': () => vision.search({ collection, text, topK: 1e9 }),
    'top_k of -1': () => vision.search({ collection, text, topK: -1 }),
    'top_k of 2^31-1': () => vision.search({ collection, text, topK: 2 ** 31 - 1 }),
    'a weight of NaN': () => vision.search({ collection, text, image: good, imageWeight: Number.NaN }),
    'a weight of 2': () => vision.search({ collection, text, image: good, imageWeight: 2 }),
    'an endless vector': () =>
      vision.search({ collection, vector: [Number.POSITIVE_INFINITY, ...many(11, 0)] }),
    'too long a vector': () => vision.search({ collection, vector: many(4097, 1) }),
    'a vector beside words': () => vision.search({ collection, vector: many(12, 1), text }),
    'nothing to look for': () => vision.search({ collection }),
    'words beyond the limit': () => vision.search({ collection, text: 'a'.repeat(4097) }),
    '65 texts': () => vision.embed({ model, texts: many(65, 'a') }),
    '65 images': () => vision.embed({ model, images: many(65, good) }),
    'a text beyond the limit': () => vision.embed({ model, texts: ['a'.repeat(4097)] }),
    '257 entries': () => collections.putEntries({ collection, entries: many(257, { id: 'a', text }) }),
    'a bound of NaN': () => vision.search({ collection, text, filter: range({ gte: Number.NaN }) }),
    'an endless bound': () =>
      vision.search({ collection, text, filter: range({ lt: Number.POSITIVE_INFINITY }) }),
    'a key beyond the limit': () => vision.search({ collection, text, filter: equals('k'.repeat(65)) }),
    '65 filters': () =>
      vision.search({
        ...{ collection, text },
        filter: { condition: { case: 'any', value: { filters: many(65, equals('k')) } } },
      }),
    '257 conditions': () => {
      const some = (count: number) => ({
        condition: { case: 'any' as const, value: { filters: many(count, equals('k')) } },
      });
      const filters = [...many(4, some(64)), some(1)];
      return vision.search({ collection, text, filter: { condition: { case: 'all', value: { filters } } } });
    },
  };
  for (const name of ['../things', '..\\things', '%2e%2e', '/etc', 'a\0b', 'a\nb', "x' or 1=1 --"]) {
    calls[`collection ${JSON.stringify(name)}`] = () => vision.search({ collection: name, text });
    calls[`model ${JSON.stringify(name)}`] = () =>
      vision.embed({ model: `models:/${name}/1.0.0`, texts: [text] });
    calls[`version ${JSON.stringify(name)}`] = () =>
      vision.embed({ model: `models:/clip/${name}`, texts: [text] });
  }
  const sent = registry.downloads;
  for (const [what, call] of Object.entries(calls))
    expect(await refusal(call(), what), what).toMatchObject({ code: status.INVALID_ARGUMENT });
  expect(registry.downloads).toBe(sent);
  await serves();
});

test('metadata and filters are data: no SQL, no prototype, no pattern', async (t) => {
  if (!at) return t.skip();
  const { vision } = at;
  const odd: [string, string][] = [
    ["'; drop table collection_entry; --", "' or '1'='1"],
    ['constructor', 'x'],
    ['(a+)+b', 'a'.repeat(1000)],
  ];
  const metadata = Object.fromEntries([...odd, ['__proto__', 'x']]);
  await collections.putEntries({ collection, entries: [{ id: 'odd', text: 'odd', metadata }] });
  const idsWhere = async (key: string, value: string) => {
    const filter = { condition: { case: 'equals' as const, value: { key, value } } };
    return (await vision.search({ collection, text: 'a', filter })).matches.map(({ id }) => id);
  };
  for (const [key, value] of odd) expect(await idsWhere(key, value), key).toEqual(['odd']);
  for (const [key, value] of [
    ['toString', 'x'],
    ['colour', "红' or '1'='1"],
    ['(a+)+b', `${'a'.repeat(1000)}b`],
    ['.*', '.*'],
  ])
    expect(await idsWhere(key!, value!), key).toEqual([]);
  await serves();
});

test('marks of the tokenizer are words where a text spells them, and blanks are a text', async (t) => {
  if (!at) return t.skip();
  const { vision } = at;
  const end = '<|endoftext|>';
  const texts = [
    end,
    '<|startoftext|>',
    `${end}${end}`,
    `a${end}b`,
    `a${end}c`,
    `a <|endof${end}text|>`,
    ' ',
    'a',
  ];
  const { embeddings } = await vision.embed({ model, texts });
  const vectors = embeddings.map(({ values }) => values);
  for (const values of vectors) expect(Math.hypot(...values)).toBeCloseTo(1, 5);
  const alike = (i: number, j: number) => vectors[i]!.reduce((sum, x, k) => sum + x * vectors[j]![k]!, 0);
  // A mark that were one would end the text: what it stands behind would be all of it.
  expect(alike(3, 5)).toBeLessThan(1 - 1e-4);
  expect(alike(4, 5)).toBeLessThan(1 - 1e-4);
  expect(alike(0, 6)).toBeLessThan(1 - 1e-4);
  await serves();
});

test('a model whose files lie is named, by what is wrong with it, and other models go on', async (t) => {
  if (!at) return t.skip();
  const { vision } = at;
  for (const name of Object.keys(BROKEN)) {
    const ref = `models:/${name}/1.0.0`;
    const calls = await Promise.all([
      refusal(vision.embed({ model: ref, texts: ['a'] }), name),
      refusal(collections.createCollection({ collection: 'of-broken', model: ref }), name),
      serves(),
    ]);
    for (const error of calls.slice(0, 2)) {
      expect(error, name).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'NO_EMBEDDING_MODEL' });
      expect(error!.message).toContain(ref);
    }
  }
  await serves();
});
