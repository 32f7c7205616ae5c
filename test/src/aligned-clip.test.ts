import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readLauncherConfig } from '@landfall/deploy/config.ts';
import { connectMesh, type MeshClients } from '@landfall/deploy/demo/clients.ts';
import { Mesh } from '@landfall/deploy/mesh/mesh.ts';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { JobState, Method } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { MATERIALS } from '@landfall/surfaces/surface.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { putDataset } from '../../services/trainer/test/put-dataset.ts';
import { captionOf, surfaceFiles, writeTinyClip } from '../../services/trainer/test/tiny-clip.ts';
import { processesOf } from './processes.ts';

const ALIAS = 'models:/clip@production';
/** Held-out images of each material. */
const HELD = 6;
const TRAINED = 48;
const each = (count: number) => Object.fromEntries(MATERIALS.map((material) => [material, count]));
/** A first answer by a version fetches and loads it, which a busy machine takes its time for. */
const PATIENT = { timeoutMs: 120_000 };

let home: string;
let mesh: Mesh;
let clients: MeshClients;
/** Pictures that no version was trained on, materials taking turns. */
let held: { image: Uint8Array; caption: string }[];

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'landfall-aligned-'));
  const importRoot = join(home, 'import');
  writeTinyClip(join(importRoot, 'clip'));
  const environment = { ...process.env, LANDFALL_DATABASE_URL: '', LANDFALL_LOG_LEVEL: 'warn' };
  const config = readLauncherConfig({ LANDFALL_HOME: home, LANDFALL_GATEWAY_PORT: '0' });
  mesh = new Mesh({ ...config, importRoot, environment });
  const { gateway, apiKey } = await mesh.start();
  clients = connectMesh(gateway, apiKey);
}, 120_000);
afterAll(async () => {
  await mesh.stop();
  // The mesh is found by its processes' environment, which only Linux shows.
  if (existsSync('/proc/self/environ')) expect(processesOf(home)).toEqual([]);
  rmSync(home, { recursive: true, force: true });
}, 60_000);

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;

interface Seen {
  model: string;
  images: number[][];
  texts: number[][];
}

/** Vectors of all held-out images and of the captions of all materials, by the version that the alias names. */
async function embedded(): Promise<Seen> {
  const images = held.map(({ image: content }) => ({ content }));
  const { model, embeddings } = await clients.vision.embed(
    { model: ALIAS, images, texts: MATERIALS.map(captionOf) },
    PATIENT,
  );
  const vectors = embeddings.map(({ values }) => values);
  return { model, images: vectors.slice(0, held.length), texts: vectors.slice(held.length) };
}

/** Cosines of images with their own captions, and how far those are above the others' on average. */
function pairs({ images, texts }: Seen): { own: number[]; lead: number; found: number } {
  const rows = images.map((image, i) => {
    const cosines = texts.map((text) => dot(image, text));
    const own = cosines[i % MATERIALS.length]!;
    const others = cosines.toSpliced(i % MATERIALS.length, 1);
    return { own, lead: own - mean(others), found: Number(own > Math.max(...others)) };
  });
  return {
    own: rows.map(({ own }) => own),
    lead: mean(rows.map(({ lead }) => lead)),
    found: mean(rows.map(({ found }) => found)),
  };
}

/** A collection of the held-out images, by what the alias names now. */
async function collect(collection: string): Promise<string> {
  const made = await clients.collections.createCollection({ collection, model: ALIAS }, PATIENT);
  const entries = held.map(({ image: content, caption }, i) => ({
    ...{ id: `piece-${i}`, image: { content }, metadata: { caption } },
  }));
  await clients.collections.putEntries({ collection, entries }, PATIENT);
  return made.collection!.model;
}

/** Share of what a search for each caption finds first that is of its material. */
async function precision(collection: string): Promise<number> {
  const shares = await Promise.all(
    MATERIALS.map(async (material) => {
      const text = captionOf(material);
      const { matches } = await clients.vision.search({ collection, text, topK: HELD }, PATIENT);
      expect(matches).toHaveLength(HELD);
      return matches.filter(({ metadata }) => metadata.caption === text).length / HELD;
    }),
  );
  return mean(shares);
}

test('a CLIP that a job aligned answers by its alias, with the weights that it has now, from the same process', async () => {
  const { registry, trainer } = clients;
  const { version } = await registry.importModel({ name: 'clip', folder: 'clip' });
  const base = version!.ref;
  await registry.setAlias({ name: 'clip', alias: 'production', version: version!.version });
  const heldFiles = await surfaceFiles(each(HELD), 2);
  held = Array.from({ length: HELD * MATERIALS.length }, (_, i) => ({
    image: heldFiles.get(`images/${i}.png`)!,
    caption: captionOf(MATERIALS[i % MATERIALS.length]!),
  }));
  const validation = await putDataset(registry, 'surfaces-held-out', heldFiles);
  const train = await putDataset(registry, 'surfaces', await surfaceFiles(each(TRAINED), 1));

  const before = await embedded();
  expect(before.model).toBe(base);
  expect(await collect('before')).toBe(base);
  const foundBefore = await precision('before');
  const serving = mesh.processes.vision;

  const { job } = await trainer.createJob(
    {
      requestId: 'align',
      spec: {
        baseModel: base,
        trainDataset: train,
        method: Method.FULL,
        config: { epochs: 25, batchSize: 24, learningRate: 1e-3, warmupSteps: 5, seed: 5n },
        evaluation: { dataset: validation, includeBase: true, classTemplates: ['a surface of {label}'] },
        outputModel: 'clip',
      },
    },
    PATIENT,
  );
  let done = job!;
  for await (const { job: now } of trainer.watchJob({ id: job!.id })) done = now!;
  expect(done.failure).toBe('');
  expect(done.state).toBe(JobState.SUCCEEDED);
  const { outputVersion } = done;
  const [, tuned] = /^models:\/clip\/(.+)$/.exec(outputVersion)!;
  expect((await registry.getVersion({ name: 'clip', version: tuned! })).version).toMatchObject({
    ...{ kind: Kind.BASE, state: VersionState.READY, lineage: { base, jobId: done.id } },
  });
  // A version that is ready answers nobody before the alias moves.
  expect((await embedded()).model).toBe(base);
  await registry.setAlias({ name: 'clip', alias: 'production', version: tuned! });
  const after = await until(embedded, ({ model }) => model !== base);
  expect(after.model).toBe(outputVersion);
  expect(mesh.processes.vision).toBe(serving);

  for (const [i, vector] of [...after.images, ...after.texts].entries())
    expect(dot(vector, [...before.images, ...before.texts][i]!)).toBeLessThan(0.99);
  const [was, is] = [pairs(before), pairs(after)];
  const risen = is.own.filter((own, i) => own > was.own[i]!).length / held.length;
  expect(risen).toBeGreaterThan(0.8);
  expect(is.lead).toBeGreaterThan(was.lead + 0.2);
  expect(is.found).toBeGreaterThan(0.6);
  // What the service answers is what the worker measured of the files that it registered.
  expect(is.found).toBeCloseTo(done.tunedResult!.retrieval!.zeroShotAccuracy, 6);
  expect(was.found).toBeCloseTo(done.baseResult!.retrieval!.zeroShotAccuracy, 6);

  expect(await collect('after')).toBe(outputVersion);
  const foundAfter = await precision('after');
  console.info(
    `cosine of a pair ${mean(was.own).toFixed(3)} -> ${mean(is.own).toFixed(3)}, ` +
      `lead ${was.lead.toFixed(3)} -> ${is.lead.toFixed(3)}, precision of a search ${foundBefore} -> ${foundAfter}`,
  );
  expect(foundAfter).toBeGreaterThan(0.6);
  // A collection stays with the version that made its vectors, also for words that come later.
  expect(await precision('before')).toBe(foundBefore);
  expect(foundBefore).toBeLessThan(0.5);
}, 600_000);

/** Asks again until an answer is as it will be: an alias is believed for a second. */
async function until<T>(ask: () => Promise<T>, wanted: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (wanted(answer)) return answer;
  }
}
