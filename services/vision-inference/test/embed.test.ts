import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { openClip } from '@landfall/graph/checkpoint/vision.ts';
import { ClipEncoder } from '@landfall/graph/vision/clip-encoder.ts';
import { pixelValues, readImageProcessor } from '@landfall/graph/vision/image-processor.ts';
import { decodeImage } from '@landfall/images/decode.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { CollectionService } from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generator, testSeed } from '../../graph/test/random.ts';
import { BEGIN, END, writeClipModel } from './clip-model.ts';
import { FolderRegistry } from './folder-registry.ts';
import { randomPicture } from './pictures.ts';
import { type Stage, stage } from './stage.ts';

const random = generator(testSeed('embed'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-embed-'));
const clip = join(folder, 'clip');
const registry = new FolderRegistry();
let at: Stage | undefined;
beforeAll(async () => {
  writeClipModel(clip);
  mkdirSync(join(folder, 'text'));
  writeFileSync(join(folder, 'text', 'config.json'), '{"model_type":"llama"}');
  registry.folders.set('clip/1.0.0', clip).set('text/1.0.0', join(folder, 'text'));
  registry.aliases.set('clip@production', '1.0.0');
  at = await stage({}, async (signer) => ({
    LANDFALL_REGISTRY_URL: await registry.start(signer),
    LANDFALL_VISION_THREADS: '1',
  }));
}, 60_000);
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const model = 'models:/clip/1.0.0';
const letter = (text: string) => 6 + 27 + 'abcdefghijklmnopqrstuvwxyz0'.indexOf(text);

test('images and texts become the vectors that the towers give, images first', async (t) => {
  if (!at) return t.skip();
  const pictures = await Promise.all([randomPicture(random), randomPicture(random, 33, 80)]);
  const request = { model: 'models:/clip@production', texts: ['a', 'b C'] };
  const images = pictures.map((content) => ({ content }));
  const answer = await at.vision.embed({ ...request, images });
  expect(answer.model).toBe(model);

  const encoder = await ClipEncoder.create(openClip(clip), { threads: 1, cacheFolder: folder });
  const processor = readImageProcessor({ size: { shortest_edge: 27 }, crop_size: 27 });
  const expected: number[][] = [];
  for (const picture of pictures) {
    const { width, height, rgb } = await decodeImage(picture);
    expected.push([
      ...(await encoder.images(pixelValues(processor, { width, height, channels: 3, data: rgb }))),
    ]);
  }
  for (const own of [[letter('a')], [letter('b'), letter('c')]])
    expected.push([...(await encoder.texts([[BEGIN, ...own, END]]))]);
  await encoder.release();
  expect(answer.embeddings).toHaveLength(4);
  for (const [i, { values }] of answer.embeddings.entries()) {
    const far = values.map((value, k) => Math.abs(value - expected[i]![k]!));
    expect(Math.max(...far), `vector ${i}`).toBeLessThan(1e-5);
    expect(Math.hypot(...values)).toBeCloseTo(1, 5);
  }
  const sent = registry.downloads;
  const again = await at.vision.embed({ ...request, images });
  expect(again).toEqual(answer);
  expect(registry.downloads).toBe(sent);
});

test('an alias that moves to a newly trained version answers with it; a collection stays with its own', async (t) => {
  if (!at) return t.skip();
  const trained = join(folder, 'trained');
  writeClipModel(trained);
  const weights = readFileSync(join(trained, 'model.safetensors'));
  const { offset, byteLength } = openClip(trained).tensors.get('text_projection.weight')!;
  for (let i = offset; i < offset + byteLength; i += 4) weights.writeFloatLE(random() - 0.5, i);
  writeFileSync(join(trained, 'model.safetensors'), weights);
  registry.folders.set('clip/1.1.0', trained);
  registry.aliases.set('clip@newest', '1.0.0');
  const ask = () => at!.vision.embed({ model: 'models:/clip@newest', texts: ['a b'] });
  const before = await ask();
  expect(before.model).toBe(model);
  const collections = at.channel.client(CollectionService);
  await collections.createCollection({ collection: 'before', model: 'models:/clip@newest' });
  registry.aliases.set('clip@newest', '1.1.0');
  const after = await until(ask, ({ model: now }) => now !== model);
  expect(after.model).toBe('models:/clip/1.1.0');
  expect(after.embeddings[0]!.values).not.toEqual(before.embeddings[0]!.values);

  const put = (vectorModel: string, { embeddings }: typeof after) => {
    const entries = [{ id: 'one', vector: embeddings[0]!.values }];
    return collections.putEntries({ collection: 'before', entries, vectorModel });
  };
  const kept = await put(before.model, before);
  expect(kept.collection).toMatchObject({ model, entries: 1n });
  const vector = after.embeddings[0]!.values;
  for (const mixed of [
    () => put(after.model, after),
    () => at!.vision.search({ collection: 'before', vector, vectorModel: after.model }),
  ])
    await expect(mixed()).rejects.toMatchObject({
      ...{ code: status.FAILED_PRECONDITION, reason: 'OTHER_MODEL' },
      message: expect.stringContaining(
        'holds vectors of models:/clip/1.0.0, and these are of models:/clip/1.1.0',
      ),
    });
  // Words are embedded by the collection's own version, wherever the alias points.
  const { matches } = await at.vision.search({ collection: 'before', text: 'a b' });
  expect(matches[0]!.score).toBeCloseTo(1, 3);
});

/** Asks again until an answer is as it will be: an alias is believed for a second. */
async function until<T>(ask: () => Promise<T>, wanted: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (wanted(answer)) return answer;
  }
}

test('a text beyond the longest keeps its end mark', async (t) => {
  if (!at) return t.skip();
  const long = 'abcdefghijklmnopqrstuvwxyz'.split('').join(' ');
  const { embeddings } = await at.vision.embed({ model, texts: [long, long.slice(0, 15)] });
  expect(embeddings[0]).toEqual(embeddings[1]);
});

test('many at once are the same as one at a time', async (t) => {
  if (!at) return t.skip();
  const { vision } = at;
  const pictures = await Promise.all(Array.from({ length: 20 }, () => randomPicture(random)));
  const alone: number[][] = [];
  for (const content of pictures) {
    const identity = { subject: 'key:x', tenant: 'alone', role: Role.INVOKER };
    alone.push((await vision.embed({ model, images: [{ content }] }, { identity })).embeddings[0]!.values);
  }
  const together = await Promise.all(
    pictures.map((content) => vision.embed({ model, images: [{ content }], texts: ['a'] })),
  );
  for (const [i, { embeddings }] of together.entries()) {
    const far = embeddings[0]!.values.map((value, k) => Math.abs(value - alone[i]![k]!));
    expect(Math.max(...far)).toBeLessThan(1e-5);
  }
});

test('what cannot be embedded says so, and stops no other', async (t) => {
  if (!at) return t.skip();
  const { vision } = at;
  const good = { content: await randomPicture(random) };
  const cut = { content: good.content.subarray(0, 90) };
  const [broken, fine] = await Promise.allSettled([
    vision.embed({ model, images: [good, cut] }),
    vision.embed({ model, images: [good] }),
  ]);
  expect(broken).toMatchObject({
    status: 'rejected',
    reason: {
      code: status.INVALID_ARGUMENT,
      reason: 'BAD_IMAGE',
      fieldViolations: [{ field: 'images[1].content' }],
    },
  });
  expect(fine.status).toBe('fulfilled');
  await expect(vision.embed({ model: 'models:/nobody/1.0.0', texts: ['a'] })).rejects.toMatchObject({
    code: status.NOT_FOUND,
  });
  await expect(vision.embed({ model: 'models:/text/1.0.0', texts: ['a'] })).rejects.toMatchObject({
    ...{ code: status.FAILED_PRECONDITION, reason: 'NO_EMBEDDING_MODEL' },
  });
  await expect(vision.embed({ model })).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  await expect(vision.embed({ model, texts: [''] })).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  const gone = AbortSignal.abort();
  await expect(vision.embed({ model, texts: ['z'] }, { signal: gone })).rejects.toMatchObject({
    code: status.CANCELLED,
  });
});

test('in 8 bits the vectors point the same way', async (t) => {
  if (!at) return t.skip();
  const pictures = await Promise.all(Array.from({ length: 4 }, () => randomPicture(random)));
  const checkpoint = openClip(clip);
  const options = { threads: 1, cacheFolder: join(folder, 'packed') };
  const processor = readImageProcessor({ size: { shortest_edge: 27 }, crop_size: 27 });
  const seen = await Promise.all(
    pictures.map(async (picture) => {
      const { width, height, rgb } = await decodeImage(picture);
      return [...pixelValues(processor, { width, height, channels: 3, data: rgb })];
    }),
  );
  const tokens = [
    [BEGIN, 40, 41, END],
    [BEGIN, 50, END],
  ];
  const all: Float32Array[][] = [];
  for (const precision of ['float32', 'int8'] as const) {
    const encoder = await ClipEncoder.create(checkpoint, { ...options, precision });
    all.push([await encoder.images(Float32Array.from(seen.flat())), await encoder.texts(tokens)]);
    await encoder.release();
  }
  expect(readdirSync(options.cacheFolder).filter((name) => name.includes('int8'))).toHaveLength(1);
  for (const tower of [0, 1]) {
    const [full, packed] = [all[0]![tower]!, all[1]![tower]!];
    const rows = full.length / 12;
    const alike = full.reduce((sum, value, i) => sum + value * packed[i]!, 0) / rows;
    expect(alike).toBeGreaterThan(0.999);
    expect(alike).toBeLessThan(1 + 1e-6);
    expect([...packed]).not.toEqual([...full]);
  }
});
