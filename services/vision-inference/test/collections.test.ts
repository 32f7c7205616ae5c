import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { CollectionService } from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { between, generator, testSeed } from '../../graph/test/random.ts';
import { writeClipModel } from './clip-model.ts';
import { FolderRegistry } from './folder-registry.ts';
import { randomPicture } from './pictures.ts';
import { type Stage, stage } from './stage.ts';

const random = generator(testSeed('collections'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-collections-'));
const registry = new FolderRegistry();
let at: Stage | undefined;
const collections = (): RpcClient<typeof CollectionService> => at!.channel.client(CollectionService);
beforeAll(async () => {
  writeClipModel(join(folder, 'clip'));
  registry.folders.set('clip/1.0.0', join(folder, 'clip'));
  registry.aliases.set('clip@production', '1.0.0');
  at = await stage({}, async (signer) => ({
    LANDFALL_REGISTRY_URL: await registry.start(signer),
    LANDFALL_VISION_THREADS: '1',
    // Room for one small index: the others go out of memory and come back.
    LANDFALL_INDEX_MEMORY_MIB: '1',
  }));
}, 60_000);
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const vector = (dimensions = 8) => Array.from({ length: dimensions }, () => random() - 0.5);
const other = { identity: { subject: 'key:other', tenant: 'other', role: Role.EDITOR } };

test('products are found by picture, by words and by both, among those that the filter lets through', async (t) => {
  if (!at) return t.skip();
  const { vision } = at;
  const made = await collections().createCollection({
    collection: 'products',
    model: 'models:/clip@production',
    description: '商品',
    requestId: 'c1',
  });
  expect(made.collection).toMatchObject({
    ...{ name: 'products', model: 'models:/clip/1.0.0', dimensions: 12, entries: 0n },
  });
  const pictures = await Promise.all(Array.from({ length: 12 }, () => randomPicture(random)));
  const put = await collections().putEntries({
    collection: 'products',
    entries: pictures.map((content, i) => ({
      id: `货号 ${i}`,
      image: { content },
      text: i === 11 ? 'a b c' : '',
      metadata: { name: `鞋 ${i}`, price: `${i * 10}.50`, colour: i % 2 ? '红' : '蓝' },
    })),
  });
  expect(put.collection!.entries).toBe(12n);
  const first = { collection: 'products', topK: 3 };
  const byPicture = await vision.search({ ...first, image: { content: pictures[4]! } });
  expect(byPicture.matches).toHaveLength(3);
  expect(byPicture.matches[0]).toMatchObject({
    ...{ id: '货号 4', metadata: { name: '鞋 4', price: '40.50', colour: '蓝' } },
  });
  expect(byPicture.matches[0]!.score).toBeCloseTo(1, 4);
  const both = { ...first, image: { content: pictures[11]! }, text: 'a b c' };
  expect((await vision.search(both)).matches[0]).toMatchObject({ id: '货号 11' });
  expect((await vision.search(both)).matches[0]!.score).toBeCloseTo(1, 4);
  const words = await vision.search({ ...first, text: 'a b c' });
  const weighted = await vision.search({ ...both, imageWeight: 0 });
  expect(weighted.matches.map(({ id }) => id)).toEqual(words.matches.map(({ id }) => id));

  const range = { condition: { case: 'range' as const, value: { key: 'price', gte: 30.5, lt: 70.5 } } };
  const red = { condition: { case: 'equals' as const, value: { key: 'colour', value: '红' } } };
  const two = { condition: { case: 'all' as const, value: { filters: [range, red] } } };
  const filtered = await vision.search({ ...first, topK: 100, text: 'a b c', filter: two });
  expect(filtered.matches.map(({ id }) => id).sort()).toEqual(['货号 3', '货号 5']);
  const either = { condition: { case: 'any' as const, value: { filters: [range, red] } } };
  const more = await vision.search({ ...first, topK: 100, text: 'a b c', filter: either });
  expect(more.matches).toHaveLength(8);
  const some = { condition: { case: 'oneOf' as const, value: { key: 'name', values: ['鞋 1', '鞋 99'] } } };
  expect((await vision.search({ ...first, text: 'a', filter: some })).matches).toHaveLength(1);
});

test('any course of puts, deletes and restarts: what was put is found, what was deleted is not', async (t) => {
  if (!at) return t.skip();
  const names = ['one', 'two'];
  const model = new Map(names.map((name) => [name, new Map<string, number[]>()]));
  for (const collection of names) await collections().createCollection({ collection, dimensions: 8 });
  for (let step = 0; step < 60; step++) {
    const collection = names[between(random, 0, 1)]!;
    const held = model.get(collection)!;
    const what = random();
    if (what < 0.5) {
      const entries = Array.from({ length: between(random, 1, 5) }, (_, i) => ({
        id: `e${between(random, 0, 5) * 5 + i}`,
        vector: vector(),
      }));
      await collections().putEntries({ collection, entries });
      for (const { id, vector } of entries) held.set(id, vector);
    } else if (what < 0.7) {
      const ids = Array.from({ length: 4 }, () => `e${between(random, 0, 29)}`);
      const there = new Set(ids.filter((id) => held.has(id)));
      const { deleted } = await collections().deleteEntries({ collection, ids });
      expect(deleted).toBe(there.size);
      for (const id of ids) held.delete(id);
    } else if (what < 0.75) await at.restart();
    const query = vector();
    const alike = (entry: number[]) =>
      entry.reduce((sum, x, i) => sum + x * query[i]!, 0) / Math.hypot(...entry) / Math.hypot(...query);
    const best = [...held]
      .map(([id, entry]) => ({ id, score: alike(entry) }))
      .sort((a, b) => b.score - a.score);
    const { matches } = await at.vision.search({ collection, vector: query, topK: 7 });
    expect(matches.map(({ id }) => id)).toEqual(best.slice(0, 7).map(({ id }) => id));
    const { collection: now } = await collections().getCollection({ collection });
    expect(now!.entries).toBe(BigInt(held.size));
  }
});

test('puts, deletes and searches at once: every answer holds only what was there', async (t) => {
  if (!at) return t.skip();
  const collection = 'busy';
  await collections().createCollection({ collection, dimensions: 4 });
  const stays = { id: 'stays', vector: [1, 0, 0, 0] };
  await collections().putEntries({ collection, entries: [stays] });
  const writers = Array.from({ length: 4 }, async (_, w) => {
    for (let i = 0; i < 8; i++) {
      const entries = Array.from({ length: 6 }, (_, k) => ({ id: `${w}-${i}-${k}`, vector: vector(4) }));
      await collections().putEntries({ collection, entries });
      const own = await at!.vision.search({ collection, vector: entries[0]!.vector, topK: 1 });
      expect(own.matches[0]!.score).toBeGreaterThan(0.99999);
      await collections().deleteEntries({ collection, ids: entries.slice(1).map(({ id }) => id) });
      const gone = await at!.vision.search({ collection, vector: entries[1]!.vector, topK: 1000 });
      for (const { id } of entries.slice(1)) expect(gone.matches.map((match) => match.id)).not.toContain(id);
    }
  });
  const readers = Array.from({ length: 3 }, async () => {
    for (let i = 0; i < 25; i++) {
      const { matches } = await at!.vision.search({ collection, vector: [1, 0, 0, 0], topK: 5 });
      expect(matches[0]).toMatchObject({ id: 'stays' });
      expect(new Set(matches.map(({ id }) => id)).size).toBe(matches.length);
    }
  });
  await Promise.all([...writers, ...readers]);
  const { collection: now } = await collections().getCollection({ collection });
  expect(now!.entries).toBe(33n);
});

test('an entry that another process deleted is not shown, and makes room for the next', async (t) => {
  if (!at) return t.skip();
  const collection = 'shared';
  await collections().createCollection({ collection, dimensions: 3 });
  const entries = Array.from({ length: 30 }, (_, i) => ({ id: `e${i}`, vector: [1, i / 100, 0] }));
  await collections().putEntries({ collection, entries });
  await at.sql(`delete from collection_entry where id in ('e0', 'e1', 'e2', 'e4')`);
  const { matches } = await at.vision.search({ collection, vector: [1, 0, 0], topK: 3 });
  expect(matches.map(({ id }) => id)).toEqual(['e3', 'e5', 'e6']);
});

test('tenants share nothing', async (t) => {
  if (!at) return t.skip();
  const { vision } = at;
  await collections().createCollection({ collection: 'same', dimensions: 2 });
  await collections().putEntries({ collection: 'same', entries: [{ id: 'mine', vector: [1, 0] }] });
  for (const call of [
    () => collections().getCollection({ collection: 'same' }, other),
    () => collections().putEntries({ collection: 'same', entries: [{ id: 'x', vector: [1, 0] }] }, other),
    () => collections().deleteEntries({ collection: 'same', ids: ['mine'] }, other),
    () => collections().deleteCollection({ collection: 'same' }, other),
    () => vision.search({ collection: 'same', vector: [1, 0] }, other),
  ])
    await expect(call()).rejects.toMatchObject({ code: status.NOT_FOUND, reason: 'COLLECTION_NOT_FOUND' });
  await collections().createCollection({ collection: 'same', dimensions: 2 }, other);
  expect((await vision.search({ collection: 'same', vector: [1, 0] }, other)).matches).toEqual([]);
  expect((await collections().listCollections({}, other)).collections.map(({ name }) => name)).toEqual([
    'same',
  ]);
  const viewer = { identity: { ...other.identity, role: Role.VIEWER } };
  await expect(
    collections().putEntries({ collection: 'same', entries: [{ id: 'x', vector: [1, 0] }] }, viewer),
  ).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
});

test('a deleted collection is gone with its entries, and its name free', async (t) => {
  if (!at) return t.skip();
  const collection = 'gone';
  const made = { collection, dimensions: 2, requestId: 'g1' };
  await collections().createCollection(made);
  expect(await collections().createCollection(made)).toMatchObject({ collection: { name: 'gone' } });
  await expect(collections().createCollection({ ...made, requestId: '' })).rejects.toMatchObject({
    code: status.ALREADY_EXISTS,
  });
  await collections().putEntries({ collection, entries: [{ id: 'x', vector: [1, 0] }] });
  await collections().deleteCollection({ collection, requestId: 'g2' });
  await collections().deleteCollection({ collection, requestId: 'g2' });
  await expect(at.vision.search({ collection, vector: [1, 0] })).rejects.toMatchObject({
    code: status.NOT_FOUND,
  });
  await collections().createCollection({ collection, dimensions: 3 });
  expect((await at.vision.search({ collection, vector: [1, 0, 0] })).matches).toEqual([]);
});

const nested = (depth: number): object =>
  depth === 0
    ? { condition: { case: 'equals', value: { key: 'a', value: 'b' } } }
    : { condition: { case: 'all', value: { filters: [nested(depth - 1)] } } };

test('what is wrong is named by its field, and nothing of it is put', async (t) => {
  if (!at) return t.skip();
  const { vision } = at;
  const collection = 'strict';
  await collections().createCollection({ collection, dimensions: 2 });
  const good = { id: 'good', vector: [1, 0] };
  const puts: [object, string][] = [
    [{ id: 'x', vector: [1, 0, 0] }, 'entries[1].vector'],
    [{ id: 'x', vector: [0, 0] }, 'entries[1].vector'],
    [{ id: 'x', vector: [Number.NaN, 0] }, 'entries[1].vector[0]'],
    [{ id: 'good', vector: [1, 0] }, 'entries[1].id'],
    [{ id: '', vector: [1, 0] }, 'entries[1].id'],
    [{ id: 'a\nb', vector: [1, 0] }, 'entries[1].id'],
    [{ id: 'x' }, 'entries[1]'],
    [{ id: 'x', vector: [1, 0], text: 'and words' }, 'entries[1]'],
    [{ id: 'x', vector: [1, 0], metadata: { '': 'x' } }, 'entries[1].metadata[""]'],
  ];
  for (const [entry, field] of puts) {
    await expect(
      collections().putEntries({ collection, entries: [good, entry] }),
      JSON.stringify(entry),
    ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, fieldViolations: [{ field }] });
  }
  expect((await vision.search({ collection, vector: [1, 0] })).matches).toEqual([]);
  await expect(
    collections().putEntries({ collection, entries: [{ id: 'x', text: 'words' }] }),
  ).rejects.toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'NO_EMBEDDING_MODEL' });
  const cut = { content: (await randomPicture(random)).subarray(0, 60) };
  await expect(vision.search({ collection: 'products', image: cut })).rejects.toMatchObject({
    ...{ code: status.INVALID_ARGUMENT, fieldViolations: [{ field: 'image.content' }] },
  });
  for (const filter of [nested(9), nested(60), { condition: { case: 'range', value: { key: 'a' } } }, {}])
    await expect(
      vision.search({ collection, vector: [1, 0], filter: filter as never }),
    ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  for (const made of [
    { dimensions: 0 },
    { dimensions: 5000 },
    { dimensions: 2, model: 'models:/clip/1.0.0' },
  ])
    await expect(collections().createCollection({ collection: 'wrong', ...made })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
  await expect(
    collections().createCollection({ collection: 'wrong', model: 'models:/none/1.0.0' }),
  ).rejects.toMatchObject({ code: status.NOT_FOUND, reason: 'MODEL_NOT_FOUND' });
});
