/** A replica under test, a registry that serves folders, and clients of both, all on free ports. */

import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { notFound } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { RpcChannel, type RpcClient } from '@landfall/common/rpc/client.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { type Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TextInferenceService as TextContract } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { TextConfig } from '../src/config.ts';
import { type Overrides, TextInferenceService } from '../src/service.ts';

export const meshKey = randomBytes(48);
export const signer = new IdentitySigner(meshKey);
export const logger = createLogger('test', process.env.LANDFALL_LOG_LEVEL || 'silent');
export const user: Identity = { subject: 'key:test', tenant: 'default', role: Role.EDITOR };

/** A folder that goes with the test. */
export class TestFolder implements Disposable {
  readonly path = mkdtempSync(path.join(os.tmpdir(), 'text-inference-'));

  join(...parts: string[]): string {
    return path.join(this.path, ...parts);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export interface TestVersion {
  name: string;
  version: string;
  kind: Kind;
  folder: string;
  base?: string;
  state?: VersionState;
}

/** GetVersion and DownloadArtifact over local folders. */
export class TestRegistry implements AsyncDisposable {
  readonly versions: TestVersion[] = [];
  readonly aliases = new Map<string, string>();
  readonly #server = new RpcServer({ signer, logger });
  /** Calls of DownloadArtifact so far. */
  downloads = 0;
  beforeDownload: (file: string) => void = () => {};
  address = '';

  async start(port = 0): Promise<void> {
    this.#server.add(RegistryService, {
      getVersion: ({ name, version }) => ({ version: this.#message(name, version) }),
      downloadArtifact: ({ name, version, path: file }) => this.#read(name, version, file),
    });
    this.address = `127.0.0.1:${await this.#server.listen('127.0.0.1', port)}`;
  }

  async *#read(name: string, version: string, file: string) {
    this.downloads++;
    this.beforeDownload(file);
    for await (const chunk of createReadStream(path.join(this.#find(name, version).folder, file))) {
      yield { chunk: chunk as Buffer };
    }
  }

  #find(name: string, version: string): TestVersion {
    const wanted = version.startsWith('@') ? this.aliases.get(`${name}${version}`) : version;
    const found = this.versions.find((v) => v.name === name && v.version === wanted);
    if (!found) throw notFound(`models:/${name}/${version} does not exist`);
    return found;
  }

  #message(name: string, wanted: string) {
    const { folder, version, kind, base = '', state = VersionState.READY } = this.#find(name, wanted);
    const files = readdirSync(folder).map((file) => {
      const content = readFileSync(path.join(folder, file));
      const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
      return { path: file, digest, sizeBytes: BigInt(content.length) };
    });
    return {
      name,
      version,
      kind,
      state,
      manifest: { files },
      lineage: { base },
      ref: `models:/${name}/${version}`,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.drain(0);
  }
}

export function testConfig(home: string, more: Partial<TextConfig> = {}): TextConfig {
  return {
    name: 'text-inference',
    home,
    listen: { host: '127.0.0.1', port: 0 },
    natsUrl: '',
    databaseUrl: '',
    meshKey,
    logLevel: 'silent',
    tls: undefined,
    graceMs: 5000,
    metricsPort: -1,
    endWithParent: false,
    model: { name: 'base', version: '1.0.0' },
    backend: { kind: 'engine' },
    modelFolder: undefined,
    tenant: 'default',
    registryUrl: '',
    cacheFolder: path.join(home, 'cache'),
    cacheBytes: 1024 ** 3,
    threads: 1,
    maxBatch: 4,
    maxQueue: 4,
    maxQueueTokens: 100_000,
    maxPrefillTokens: 64,
    maxChunkTokens: 32,
    precision: 'float32',
    int4Block: 32,
    towerPrecision: 'float32',
    blocks: undefined,
    imageCacheBytes: 1024 ** 2,
    blockSize: 4,
    adapterSlots: 2,
    runnerModule: new URL('../src/engine/onnx-runner.ts', import.meta.url).href,
    ...more,
  };
}

export const fakeRunnerModule = new URL('./fake-runner-module.ts', import.meta.url).href;

/** A started replica and a client that calls in a user's name. */
export class TestReplica implements AsyncDisposable {
  readonly service: TextInferenceService;
  readonly address: string;
  readonly model: string;
  /** URL of its Prometheus endpoint. */
  readonly metrics: string;
  readonly channel: RpcChannel;
  readonly client: RpcClient<typeof TextContract>;

  static async start(config: TextConfig, overrides: Overrides = {}): Promise<TestReplica> {
    const service = await TextInferenceService.create(config, { logger, ...overrides });
    const { address, model, metrics } = await service.start();
    return new TestReplica(service, address, model, metrics);
  }

  private constructor(service: TextInferenceService, address: string, model: string, metrics: string) {
    this.service = service;
    this.address = address;
    this.model = model;
    this.metrics = metrics;
    this.channel = new RpcChannel(address, { signer, identity: user });
    this.client = this.channel.client(TextContract);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.channel.close();
    await this.service[Symbol.asyncDispose]();
  }
}

/** Polls until the condition holds; the test's own time limit ends it. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
