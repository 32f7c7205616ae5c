import { join } from 'node:path';
import { VersionCache } from '@landfall/common/artifacts/version-cache.ts';
import { PrefixSketch } from '@landfall/common/balancing/prefix-keys.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import type { Service } from '@landfall/common/lifecycle/run-service.ts';
import { createLogger, type Logger } from '@landfall/common/log/logger.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { startTelemetry, type Telemetry } from '@landfall/common/telemetry/telemetry.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TextInferenceService as TextInferenceContract } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { Admission } from './admission.ts';
import type { Backend } from './backends/backend.ts';
import { openBackend } from './backends/open-backend.ts';
import { backendRoutes } from './backends/routes.ts';
import type { TextConfig } from './config.ts';
import { ModelReadyConsumer } from './consumers/model-ready.ts';
import { type LoadedModel, TextContext } from './context.ts';
import { ImageThread } from './engine/image-thread.ts';
import { ModelThread } from './engine/model-thread.ts';
import { PromptThread } from './engine/prompt-thread.ts';
import { Adapters } from './model/adapters.ts';
import { fetchBase } from './model/base.ts';
import { VersionSource } from './model/versions.ts';
import { attend } from './routes/attend.ts';
import { generate } from './routes/generate.ts';
import { getLoad } from './routes/get-load.ts';
import { loadAdapter } from './routes/load-adapter.ts';
import { score } from './routes/score.ts';
import { unloadAdapter } from './routes/unload-adapter.ts';
import { watchLoad } from './routes/watch-load.ts';

export interface Overrides {
  logger?: Logger;
  /** Ends the process when the model's thread is lost; a test watches instead. */
  onLost?: (reason: Error) => void;
}

/** An adapter is read into memory when it is loaded; until then its files must stay, in milliseconds. */
const KEEP_CACHED_MS = 600_000;
/** A request with images; what the contract says of ChatMessage.images. */
const MOST_BYTES = 64 * 1024 * 1024;

/** A replica of text-inference: one base model and its adapters behind TextInferenceService. */
export class TextInferenceService implements Service {
  readonly #config: TextConfig;
  readonly #logger: Logger;
  readonly #context: TextContext;
  readonly #server: RpcServer;
  readonly #registry: RpcChannel | undefined;
  readonly #versions: VersionSource | undefined;
  /** Fires when the drain begins, and when it is over. */
  readonly #draining = new AbortController();
  readonly #stopped = new AbortController();
  /** What answers in the engine's place, where the configuration says so. */
  readonly #backend: Backend | undefined;
  readonly #onLost: (reason: Error) => void;
  #telemetry: Telemetry | undefined;
  #model: LoadedModel | undefined;
  #events: ModelReadyConsumer | undefined;

  static async create(config: TextConfig, overrides: Overrides = {}): Promise<TextInferenceService> {
    return new TextInferenceService(config, overrides);
  }

  private constructor(config: TextConfig, overrides: Overrides) {
    const { logLevel, tenant, tls, maxBatch, maxQueue } = config;
    this.#config = config;
    this.#logger = overrides.logger ?? createLogger(config.name, logLevel);
    const signer = new IdentitySigner(config.meshKey);
    if (config.registryUrl) {
      const identity: Identity = { subject: `service:${config.name}`, tenant, role: Role.SERVICE };
      this.#registry = new RpcChannel(config.registryUrl, { signer, tls, identity });
      const cache = new VersionCache(config.cacheFolder, {
        limitBytes: config.cacheBytes,
        keepMs: KEEP_CACHED_MS,
      });
      this.#versions = new VersionSource(this.#registry.client(RegistryService), identity, cache);
    }
    const admission = new Admission({ batch: maxBatch, queue: maxQueue, queueTokens: config.maxQueueTokens });
    this.#context = new TextContext(config, this.#logger, admission, this.#draining.signal);
    this.#backend = openBackend(config, this.#logger, (reason) => this.#onLost(reason));
    const routes = this.#backend
      ? backendRoutes(this.#context, this.#backend, config.backend.kind)
      : engineRoutes(this.#context);
    this.#server = new RpcServer({ signer, logger: this.#logger, tls, maxReceiveBytes: MOST_BYTES }).add(
      TextInferenceContract,
      routes,
    );
    this.#onLost =
      overrides.onLost ??
      ((reason) => {
        // Nothing can be answered any more; whoever keeps replicas starts another one.
        this.#logger.fatal({ err: reason }, 'the model thread is lost');
        process.exit(1);
      });
  }

  /** Listens at once, so that liveness can be seen, and resolves when the base is loaded and calls are taken. */
  async start(): Promise<{ address: string; model: string; metrics: string }> {
    const { host, port } = this.#config.listen;
    this.#telemetry = await startTelemetry(this.#config.name, this.#config.metricsPort);
    const bound = await this.#server.listen(host, port);
    const model = this.#backend?.base ?? (await this.#startEngine());
    await this.#backend?.start(this.#draining.signal);
    this.#server.health.set('readiness', true);
    return { address: `${host}:${bound}`, model, metrics: this.#telemetry.metricsUrl };
  }

  async #startEngine(): Promise<string> {
    this.#model = await this.#load();
    this.#context.setModel(this.#model);
    if (this.#config.natsUrl) this.#events = new ModelReadyConsumer(this.#context, this.#model);
    return this.#model.adapters.base;
  }

  async #load(): Promise<LoadedModel> {
    const { signal } = this.#draining;
    const config = this.#config;
    const start = performance.now();
    const base = await fetchBase(config, this.#versions, this.#logger, signal);
    const thread = await ModelThread.start({
      runner: {
        folder: base.folder,
        cacheFolder: config.cacheFolder,
        threads: config.threads,
        maxBatch: config.maxBatch,
        blocks: config.blocks,
        blockSize: config.blockSize,
        adapterSlots: config.adapterSlots,
        precision: config.precision,
        int4Block: config.int4Block,
      },
      limits: {
        maxBatch: config.maxBatch,
        maxPrefillTokens: config.maxPrefillTokens,
        maxChunkTokens: config.maxChunkTokens,
      },
      runnerModule: config.runnerModule,
    });
    void thread.lost.then((reason) => this.#onLost(reason));
    const { contextLength, images: grid } = thread.shape;
    const prompts = await PromptThread.start({ folder: base.folder, contextLength, images: grid });
    const images = grid && (await this.#startImages(base.folder));
    const facts = { model: base.ref, load_ms: Math.round(performance.now() - start), ...thread.shape };
    this.#logger.info(facts, 'base loaded');
    return {
      thread,
      prompts,
      images,
      adapters: new Adapters(thread, base.ref, this.#versions, this.#stopped.signal),
      admission: this.#context.admission,
      prefixes: new PrefixSketch(),
    };
  }

  async #startImages(folder: string): Promise<ImageThread> {
    const { cacheFolder, threads, towerPrecision: precision, imageCacheBytes: cacheBytes } = this.#config;
    const thread = await ImageThread.start({
      folder,
      cacheFolder: join(cacheFolder, 'weights'),
      threads,
      precision,
      cacheBytes,
    });
    void thread.lost.then((reason) => this.#onLost(reason));
    return thread;
  }

  /** Not ready, streams without end stop, running generations end within the grace period, memory goes back. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining.abort(new Error('this replica is draining'));
    await this.#events?.[Symbol.asyncDispose]();
    await this.#server.drain(this.#config.graceMs);
    this.#stopped.abort(new Error('this replica has stopped'));
    await this.#backend?.[Symbol.asyncDispose]();
    await this.#model?.thread.close();
    await this.#model?.prompts.close();
    await this.#model?.images?.close();
    this.#registry?.close();
    await this.#telemetry?.stop();
  }
}

function engineRoutes(context: TextContext): Implementation<typeof TextInferenceContract> {
  return {
    generate: generate(context),
    score: score(context),
    attend: attend(context),
    loadAdapter: loadAdapter(context),
    unloadAdapter: unloadAdapter(context),
    getLoad: getLoad(context),
    watchLoad: watchLoad(context),
  };
}
