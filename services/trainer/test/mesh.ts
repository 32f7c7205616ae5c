import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import { startNatsServer } from '@landfall/common/events/nats-server.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { RpcChannel, type RpcClient } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TrainerService as TrainerContract } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { WorkerService } from '@landfall/proto/landfall/trainer/v1/worker_service_pb.js';
import { readConfig } from '../src/config.ts';
import { TrainerService } from '../src/service.ts';
import { type ServiceProcess, startService } from './processes.ts';
import { putDataset } from './put-dataset.ts';
import { type FakeReplicas, startFakeReplicas } from './replicas.ts';
import { writeTinyClip } from './tiny-clip.ts';
import { writeTinyLlava, writeTinyModel } from './tiny-model.ts';

export const TENANT = 'acme';
export const editor: Identity = { subject: 'key:test', tenant: TENANT, role: Role.EDITOR };

/** The trainer's control service with a real broker, database and registry around it. */
export interface TestMesh extends AsyncDisposable {
  folder: string;
  natsUrl: string;
  signer: IdentitySigner;
  registry: RpcClient<typeof RegistryService>;
  trainer: RpcClient<typeof TrainerContract>;
  worker: RpcClient<typeof WorkerService>;
  replicas: FakeReplicas;
  startWorker(env?: Record<string, string>): Promise<ServiceProcess>;
  /** Ends the control service and starts it again on the same port. */
  restartControl(): Promise<void>;
  /** A second control service beside the first, on the same database. */
  startSecondControl(): Promise<AsyncDisposable>;
  /** A READY data set; returns `models:/name/version`. */
  dataset(name: string, rows: readonly object[]): Promise<string>;
  /** A READY data set of these files by their paths; returns `models:/name/version`. */
  datasetOf(name: string, files: ReadonlyMap<string, Buffer>): Promise<string>;
  /** A READY tiny LLaMA, LLaVA or CLIP; returns `models:/name/version`. */
  base(name: string, kind?: 'tiny' | 'llava' | 'clip'): Promise<string>;
}

/** @returns undefined where PostgreSQL is asked for and not installed; the reason is printed */
export async function startMesh(): Promise<TestMesh | undefined> {
  const stack = new AsyncDisposableStack();
  const database = await testDatabase();
  if (!database) return undefined;
  stack.use(database);
  const folder = mkdtempSync(path.join(tmpdir(), 'landfall-trainer-'));
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const keyFile = path.join(folder, 'mesh.key');
  const key = randomBytes(32);
  writeFileSync(keyFile, key);
  const nats = stack.use(await startNatsServer({ folder: path.join(folder, 'nats') }));
  writeTinyModel(path.join(folder, 'import', 'tiny'));
  writeTinyLlava(path.join(folder, 'import', 'llava'));
  writeTinyClip(path.join(folder, 'import', 'clip'));
  const env = {
    LANDFALL_HOME: folder,
    LANDFALL_NATS_URL: nats.url,
    LANDFALL_MESH_KEY_FILE: keyFile,
    LANDFALL_METRICS_PORT: '-1',
    LANDFALL_LOG_LEVEL: process.env.LANDFALL_TEST_LOG ?? 'fatal',
  };
  const registryProcess = stack.use(
    await startService('registry/src/main.ts', { ...env, LANDFALL_IMPORT_ROOT: path.join(folder, 'import') }),
  );
  const signer = new IdentitySigner(key);
  const logger = createLogger('test', env.LANDFALL_LOG_LEVEL);
  const replicas = stack.use(await startFakeReplicas(signer, logger));
  const neighbours = {
    LANDFALL_REGISTRY_URL: registryProcess.address,
    LANDFALL_BALANCER_URL: replicas.address,
    LANDFALL_TRAINER_THREADS: '1',
  };
  const configure = (listen: string) =>
    readConfig({ ...env, ...neighbours, LANDFALL_DATABASE_URL: database.url, LANDFALL_LISTEN: listen });
  let control = await TrainerService.create(configure('127.0.0.1:0'));
  const { address } = await control.start();
  stack.defer(() => control[Symbol.asyncDispose]());

  const open = (to: string) => {
    const channel = new RpcChannel(to, { signer, identity: editor });
    stack.defer(() => channel.close());
    return channel;
  };
  const registry = open(registryProcess.address).client(RegistryService);
  const channel = open(address);
  const datasetOf = (name: string, files: ReadonlyMap<string, Buffer>) => putDataset(registry, name, files);
  return {
    folder,
    natsUrl: nats.url,
    signer,
    registry,
    trainer: channel.client(TrainerContract),
    worker: channel.client(WorkerService),
    replicas,
    startWorker: async (extra = {}) =>
      stack.use(
        await startService('trainer/src/worker-main.ts', {
          ...env,
          ...neighbours,
          LANDFALL_TRAINER_URL: address,
          LANDFALL_TRAINER_ACK_WAIT_MS: '1000',
          LANDFALL_TRAINER_REPORT_MS: '20',
          ...extra,
        }),
      ),
    restartControl: async () => {
      await control[Symbol.asyncDispose]();
      control = await TrainerService.create(configure(address));
      await control.start();
    },
    startSecondControl: async () => {
      const second = await TrainerService.create(configure('127.0.0.1:0'));
      await second.start();
      return second;
    },
    dataset: (name, rows) => datasetOf(name, new Map([['rows.json', Buffer.from(JSON.stringify(rows))]])),
    datasetOf,
    base: async (name, kind = 'tiny') => {
      const { version } = await registry.importModel({ name, folder: kind });
      return version!.ref;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Rows that a tiny model can learn by heart. */
export function smallRows(count: number): { question: string; answer: string }[] {
  return Array.from({ length: count }, (_, i) => ({ question: `问题${i}?`, answer: `回答 ${i}。` }));
}
