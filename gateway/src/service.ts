import { join } from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import { createContextValues } from '@connectrpc/connect';
import { type ConnectNodeAdapterOptions, connectNodeAdapter } from '@connectrpc/connect-node';
import { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { Database } from '@landfall/common/db/database.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import type { Service } from '@landfall/common/lifecycle/run-service.ts';
import { createLogger, type Logger } from '@landfall/common/log/logger.ts';
import { LabelCache } from '@landfall/common/prompts/label-cache.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { checkHealth } from '@landfall/common/rpc/health-client.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import { holdsPersonalData } from '@landfall/masking/mask.ts';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { CallerGate } from './access/caller-gate.ts';
import { itemReader } from './access/item-reader.ts';
import { ResourcePolicies } from './access/resource-policies.ts';
import { warmRoles } from './access/warm.ts';
import { Audit } from './audit/audit.ts';
import { AnswerCache } from './cache/answer-cache.ts';
import { CacheBook } from './cache/cache-book.ts';
import { observeCache } from './cache/cache-metrics.ts';
import { Keeper } from './cache/keeper.ts';
import { followModels } from './cache/model-changes.ts';
import { QuestionVectors } from './cache/vectors.ts';
import type { GatewayConfig } from './config.ts';
import { ContentStage } from './content/content-stage.ts';
import { ImageCheck } from './content/image-check.ts';
import { ImageCounts } from './content/image-counts.ts';
import { Judges } from './content/judge.ts';
import { ContentPolicies } from './content/policies.ts';
import { pseudonymKey } from './content/pseudonyms.ts';
import { Reviews } from './content/reviews.ts';
import type { GatewayContext } from './context.ts';
import { gatewayEntities, gatewayMigrations } from './db/entities.ts';
import { Policies } from './domain/policies.ts';
import { outgoingError } from './edge/connect-error.ts';
import { withCrossOrigin } from './edge/cross-origin.ts';
import { type EdgeTls, watchTls } from './edge/edge-tls.ts';
import { fallback } from './edge/fallback.ts';
import { Governance } from './edge/governance.ts';
import { OnePortServer } from './edge/one-port.ts';
import { RateLimiter } from './edge/rate-limiter.ts';
import { Readiness } from './edge/readiness.ts';
import { RequestMeter } from './edge/request-meter.ts';
import { routeName } from './edge/route-name.ts';
import { CERTIFICATE, GOVERNED, rpcRoutes } from './edge/rpc-routes.ts';
import { withSecurityHeaders } from './edge/security-headers.ts';
import { takesStream } from './edge/services.ts';
import { withWellFormed } from './edge/well-formed.ts';
import { EventLink } from './events/event-link.ts';
import { Callers } from './identity/callers.ts';
import { CertificateCallers } from './identity/certificate-callers.ts';
import { certificateOf } from './identity/certificate-names.ts';
import { Directory } from './identity/directory.ts';
import { OidcTokens } from './identity/oidc.ts';
import { Principals } from './identity/principals.ts';
import { TokenCallers } from './identity/token-callers.ts';
import { KeyStore } from './keys/key-store.ts';
import { ImageReaders } from './ocr/image-readers.ts';
import { QuotaBook } from './quota/quota-book.ts';
import { QuotaMeter } from './quota/quota-meter.ts';
import { SecretBox } from './webhooks/secret.ts';
import { Webhooks } from './webhooks/webhooks.ts';

export interface Overrides {
  logger?: Logger;
}

/** The gateway: the one door of the mesh. */
export class GatewayService implements Service {
  readonly #config: GatewayConfig;
  readonly #logger: Logger;
  readonly #running = new AsyncDisposableStack();

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
    const audit = this.#running.use(
      await Audit.open(join(config.home, 'audit'), database, config.audit, this.#logger),
    );
    const context = this.#context(database, audit);
    // Standard output is its maker's: the secret never passes through the log.
    await context.keys.ensureFirst(config.firstKeyFile, (secret) =>
      process.stdout.write(`first API key: ${secret}\n`),
    );
    const { edgeTls } = config;
    const readiness = this.#readiness(database);
    const handler = withCrossOrigin(this.#handler(context, readiness), config.corsOrigins);
    const wellFormed = withWellFormed(handler, config.edge.maxHeaderBytes);
    const guarded = withSecurityHeaders(wellFormed, edgeTls !== undefined);
    const server = new OnePortServer(guarded, config.edge, edgeTls, takesStream);
    if (edgeTls) this.#renewTls(server, edgeTls);
    const { address, port } = await server.listen(config.listen.host, config.listen.port);
    this.#running.defer(() => {
      readiness.stop();
      return server.close(config.graceMs);
    });
    const warming = new AbortController();
    this.#running.defer(() => warming.abort());
    // Behind the opening of the door: who comes first waits for one role at most, and readiness for none.
    void warmRoles(warming.signal);
    return { address: `${address}:${port}`, metrics: telemetry.metricsUrl };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.disposeAsync();
  }

  #renewTls(server: OnePortServer, tls: EdgeTls): void {
    const renew = (files: SecureContextOptions) => {
      server.renew(files);
      this.#logger.info('the certificate of the gateway was renewed');
    };
    const failed = (cause: unknown) =>
      this.#logger.error({ err: cause }, 'files of TLS do not go together: the old ones are kept');
    this.#running.defer(watchTls(tls, renew, failed));
  }

  #context(database: Database, audit: Audit): GatewayContext {
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
    const prompts = channels.prompt.client(PromptService);
    const labels = new LabelCache({
      read: (request, options) => prompts.getPrompt(request, options),
      folder: join(config.home, 'labels'),
      logger,
    });
    const directory = new Directory(database);
    const principals = new Principals(directory);
    const keys = new KeyStore(database, principals);
    const callers = new Callers({
      ...{ keys, directory, tokens: new TokenCallers(new OidcTokens(config.oidc), principals) },
      certificates: new CertificateCallers(directory, principals),
    });
    const resourcePolicies = new ResourcePolicies();
    const policies = new Policies(database, config.rate);
    const quotas = new QuotaBook(database, logger);
    quotas.start();
    this.#running.defer(() => quotas.stop());
    const contentPolicies = new ContentPolicies(database);
    const secrets = new SecretBox(config.meshKey);
    const reviews = new Reviews(database, secrets);
    const pseudonym = pseudonymKey(config.pseudonymKeyFile);
    const hosts = new Set(config.webhookHosts);
    const { meshKey, cacheMemoryBytes: memoryBytes } = config;
    const cache = this.#running.use(new CacheBook({ database, logger, meshKey, memoryBytes }));
    this.#running.defer(observeCache(cache));
    const events = this.#running.use(
      new EventLink(config.eventsUrl, database, logger, async (broker, running) => {
        const webhooks = running.use(new Webhooks({ database, secrets, logger, hosts }));
        await webhooks.start(broker);
        await followModels(broker, { database, logger, book: cache }, running);
      }),
    );
    const readers = this.#running.use(new ImageReaders({ ...config.imageReading, logger }));
    const imageCounts = new ImageCounts();
    this.#running.defer(imageCounts.observe(readers));
    const content = new ContentStage(
      contentPolicies,
      pseudonym,
      reviews,
      new Judges({ replicas, service: config.name, logger, log: audit.log }),
      new ImageCheck(readers, imageCounts),
    );
    const keeper = new Keeper(cache, content, logger);
    const vectors = new QuestionVectors(channels.vision);
    const governance = new Governance({
      who: new CallerGate(callers, directory, resourcePolicies, itemReader(channels, config.name)),
      meter: new QuotaMeter(quotas, new RequestMeter(policies, new RateLimiter())),
      content,
      answers: new AnswerCache({ book: cache, keeper, replicas, vectors, logger }),
      ledger: audit.ledger,
    });
    return {
      config,
      logger,
      database,
      audit,
      keys,
      callers,
      directory,
      resourcePolicies,
      principals,
      policies,
      quotas,
      contentPolicies,
      cache,
      reviews,
      pseudonymKey: pseudonym,
      events,
      secrets,
      governance,
      channels,
      labels,
      replicas,
    };
  }

  #handler(context: GatewayContext, readiness: Readiness) {
    const { logger, config } = context;
    return connectNodeAdapter({
      routes: rpcRoutes(context),
      readMaxBytes: config.maxMessageBytes,
      // A misspelt field is told of, and never left out in silence.
      jsonOptions: { ignoreUnknownFields: false },
      maxTimeoutMs: 86_400_000,
      contextValues: (request) => createContextValues().set(CERTIFICATE, () => certificateOf(request)),
      requestGate: async (call) => {
        try {
          const { method, signal, requestHeader } = call;
          const header = (name: string) => requestHeader.get(name);
          const governed = await context.governance.begin({
            method,
            route: routeName(method),
            header,
            certificate: call.values.get(CERTIFICATE),
            signal,
          });
          call.values.set(GOVERNED, governed);
        } catch (cause) {
          throw outgoingError(cause, (unknown) => logger.error({ err: unknown }, 'admission failed'));
        }
      },
      fallback: fallback(context, readiness) as NonNullable<ConnectNodeAdapterOptions['fallback']>,
    });
  }

  /** Of the database and each service behind the door; events are done without while their broker is away. */
  #readiness(database: Database): Readiness {
    const options = { tls: this.#config.tls, timeoutMs: 1000 };
    const services = Object.entries(this.#config.upstreams).filter(([, address]) => address !== '');
    const checks = services.map(
      ([name, address]) => [name, () => checkHealth(address, 'readiness', options)] as const,
    );
    const answers = () => database.read((em) => em.execute('select 1')).then(() => true);
    return new Readiness({ ...Object.fromEntries(checks), database: answers });
  }
}
