import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import { startNatsServer } from '@landfall/common/events/nats-server.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { CollectionService } from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import { VisionInferenceService } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import { expect, test } from 'vitest';
import { between, generator, testSeed } from '../../graph/test/random.ts';
import { startService } from '../../trainer/test/processes.ts';
import { editor } from './stage.ts';

const random = generator(testSeed('collections and kill -9'));
const DIMENSIONS = 16;
const BATCH = 200;
const collection = 'kept';

const vector = () => Array.from({ length: DIMENSIONS }, () => random() - 0.5);

test('kill -9 amid puts and deletes: what was answered holds, and nothing else is half there', async (t) => {
  await using stack = new AsyncDisposableStack();
  const place = await testDatabase();
  if (!place) return t.skip();
  stack.use(place);
  const folder = mkdtempSync(join(tmpdir(), 'landfall-vision-kill-'));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const nats = stack.use(await startNatsServer({ folder: join(folder, 'nats') }));
  const key = randomBytes(48);
  writeFileSync(join(folder, 'mesh.key'), key);
  const env = {
    LANDFALL_HOME: folder,
    LANDFALL_NATS_URL: nats.url,
    LANDFALL_DATABASE_URL: place.url,
    LANDFALL_MESH_KEY_FILE: join(folder, 'mesh.key'),
    LANDFALL_BALANCER_URL: '127.0.0.1:1',
  };
  const start = async () => {
    const service = await startService('vision-inference/src/main.ts', env);
    const channel = new RpcChannel(service.address, { signer: new IdentitySigner(key), identity: editor });
    const clients = [channel.client(CollectionService), channel.client(VisionInferenceService)] as const;
    return { service, channel, clients };
  };
  /** Entries whose put was answered, and those whose delete was begun or answered. */
  const put = new Map<string, number[]>();
  const begun = new Set<string>();
  const deleted = new Set<string>();
  for (let round = 0; round < 3; round++) {
    const { service, channel, clients } = await start();
    await using _service = service;
    const [collections, vision] = clients;
    if (round === 0) await collections.createCollection({ collection, dimensions: DIMENSIONS });
    const { collection: found } = await collections.getCollection({ collection });
    const { matches } = await vision.search({ collection, vector: vector(), topK: 1000 });
    expect(matches).toHaveLength(Math.min(1000, Number(found!.entries)));
    for (const { id } of matches) expect(deleted.has(id), id).toBe(false);
    const ids = [...put.keys()].filter((id) => !begun.has(id));
    for (let i = 0; i < 25 && ids.length > 0; i++) {
      const id = ids[between(random, 0, ids.length - 1)]!;
      const nearest = await vision.search({ collection, vector: put.get(id)!, topK: 1 });
      expect(nearest.matches[0]).toMatchObject({ id });
    }
    // Killed after so many answers, amid what runs then; twice an index has been saved by then.
    const most = between(random, 10, 20);
    let answers = 0;
    const writer = async (w: number): Promise<void> => {
      for (let i = 0; ; i++) {
        const entries = Array.from({ length: BATCH }, (_, k) => ({
          id: `${round}-${w}-${i}-${k}`,
          vector: vector(),
        }));
        const gone = entries.slice(0, 20).map(({ id }) => id);
        await collections.putEntries({ collection, entries });
        for (const { id, vector } of entries) put.set(id, vector);
        for (const id of gone) begun.add(id);
        await collections.deleteEntries({ collection, ids: gone });
        for (const id of gone) deleted.add(id);
        if (++answers === most) await service.kill();
      }
    };
    const ends = await Promise.allSettled([writer(0), writer(1)]);
    for (const end of ends) expect(end.status).toBe('rejected');
    channel.close();
  }
  expect(deleted.size).toBeGreaterThan(0);
}, 300_000);
