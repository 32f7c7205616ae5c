import { join } from 'node:path';
import { type ConnectNodeAdapterOptions, connectNodeAdapter } from '@connectrpc/connect-node';
import { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { Database } from '@landfall/common/db/database.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import type { Service } from '@landfall/common/lifecycle/run-service.ts';
import { createLogger, type Logger } from '@landfall/common/log/logger.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { checkHealth } from '@landfall/common/rpc/health-client.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import { holdsPersonalData } from '@landfall/masking/mask.ts';
import type { GatewayConfig } from './config.ts';
import type { GatewayContext } from './context.ts';
import { gatewayEntities, gatewayMigrations } from './db/entities.ts';
import { Policies } from './domain/policies.ts';
import { admit } from './edge/admission.ts';
import { outgoingError } from './edge/connect-error.ts';
import { fallback } from './edge/fallback.ts';
import { OnePortServer } from './edge/one-port.ts';
import { RateLimiter } from './edge/rate-limiter.ts';
import { CALLER, rpcRoutes } from './edge/rpc-routes.ts';
import { KeyStore } from './keys/key-store.ts';

export interface Overrides {
  logger?: Logger;
}

/** The gateway: the one door of the mesh. */
export class GatewayService implements Service {
  readonly #config: GatewayConfig;
  readonly #logger: Logger;
  readonly #running = new AsyncDisposableStack();
  #stopping = false;

  static async create(config: GatewayConfig, overrides: Overrides = {}): Promise<GatewayService> {
    return new GatewayService(config, overrides);
  }

  private constructor(config: GatewayConfig, overrides: Overrides) {
    this.#config = config;
    this.#logger = overrides.logger ?? createLogger(config.name, config.logLevel);
  }

  /** Resolves when calls are taken. */
  async start(): Promise<{ address: string; metrics: string }> {
    const config = this.#config;
    const telemetry = await startTelemetry(config.name, config.metricsPort);
    this.#running.defer(() => telemetry.stop());
    const database = this.#running.use(
      await Database.open({
        service: config.name,
        url: config.databaseUrl,
        file: join(config.home, 'gateway.sqlite'),
        entities: gatewayEntities,
        migrations: gatewayMigrations,
      }),
    );
    const context = this.#context(database);
    // Standard output is its maker's: the secret never passes through the log.
    await context.keys.ensureFirst(config.firstKeyFile, (secret) =>
      process.stdout.write(`first API key: ${secret}\n`),
    );
    const server = new OnePortServer(this.#handler(context), config.edge);
    const { address, port } = await server.listen(config.listen.host, config.listen.port);
    this.#running.defer(() => {
      this.#stopping = true;
      return server.close(config.graceMs);
    });
    return { address: `${address}:${port}`, metrics: telemetry.metricsUrl };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.disposeAsync();
  }

  #context(database: Database): GatewayContext {
    const config = this.#config;
    const logger = this.#logger;
    const rpc = { signer: new IdentitySigner(config.meshKey), tls: config.tls };
    const channel = (address: string) => {
      const made = new RpcChannel(address, rpc);
      this.#running.defer(() => made.close());
      return made;
    };
    const { upstreams } = config;
    const channels = {
      registry: channel(upstreams.registry),
      trainer: channel(upstreams.trainer),
      balancer: channel(upstreams.balancer),
      prompt: channel(upstreams.prompt),
      vision: upstreams.vision ? channel(upstreams.vision) : undefined,
    };
    const replicas = new BalancedClient({
      balancerUrl: upstreams.balancer,
      service: config.name,
      rpc,
      logger,
      mayLeave: (text) => !holdsPersonalData(text),
    });
    this.#running.use(replicas);
    const keys = new KeyStore(database);
    const policies = new Policies(database, config.rate);
    return { config, logger, database, keys, policies, limiter: new RateLimiter(), channels, replicas };
  }

  #handler(context: GatewayContext) {
    const { logger, config } = context;
    return connectNodeAdapter({
      routes: rpcRoutes(context),
      readMaxBytes: config.maxMessageBytes,
      maxTimeoutMs: 86_400_000,
      requestGate: async (call) => {
        try {
          const { caller, release } = await admit(
            context,
            call.requestHeader.get('authorization'),
            call.method,
          );
          call.values.set(CALLER, caller);
          call.signal.addEventListener('abort', release, { once: true });
        } catch (cause) {
          throw outgoingError(cause, (unknown) => logger.error({ err: unknown }, 'admission failed'));
        }
      },
      fallback: fallback(context, () => this.#ready()) as NonNullable<ConnectNodeAdapterOptions['fallback']>,
    });
  }

  /** Ready means that what is behind the door answers. */
  async #ready(): Promise<boolean> {
    if (this.#stopping) return false;
    const { registry, trainer, balancer, prompt } = this.#config.upstreams;
    const options = { tls: this.#config.tls, timeoutMs: 1000 };
    const checks = [registry, trainer, balancer, prompt].map((address) =>
      checkHealth(address, 'readiness', options),
    );
    return (await Promise.all(checks)).every(Boolean);
  }
}
