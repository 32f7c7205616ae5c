import { join } from 'node:path';
import { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { Database } from '@landfall/common/db/database.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { OutboxRelay } from '@landfall/common/events/outbox.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import type { Service } from '@landfall/common/lifecycle/run-service.ts';
import { createLogger, type Logger } from '@landfall/common/log/logger.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import { holdsPersonalData } from '@landfall/masking/mask.ts';
import { PromptService as PromptContract } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { PromptConfig } from './config.ts';
import type { PromptContext } from './context.ts';
import { promptEntities } from './db/entities.ts';
import { promptMigrations } from './db/migrations.ts';
import { InvocationLog } from './domain/invocation-log.ts';
import { createPrompt } from './routes/create-prompt.ts';
import { createVersion } from './routes/create-version.ts';
import { getPrompt } from './routes/get-prompt.ts';
import { invoke } from './routes/invoke.ts';
import { lintPrompt } from './routes/lint-prompt.ts';
import { listInvocations } from './routes/list-invocations.ts';
import { listPrompts } from './routes/list-prompts.ts';
import { renderPrompt } from './routes/render-prompt.ts';
import { scoreInvocation } from './routes/score-invocation.ts';
import { setLabel } from './routes/set-label.ts';

export interface Overrides {
  logger?: Logger;
}

/** Prompts: versioned templates, and their invocation against deployed models. */
export class PromptService implements Service {
  readonly #config: PromptConfig;
  readonly #logger: Logger;
  readonly #running = new AsyncDisposableStack();

  static async create(config: PromptConfig, overrides: Overrides = {}): Promise<PromptService> {
    return new PromptService(config, overrides);
  }

  private constructor(config: PromptConfig, overrides: Overrides) {
    this.#config = config;
    this.#logger = overrides.logger ?? createLogger(config.name, config.logLevel);
  }

  /** Resolves when calls are taken. */
  async start(): Promise<{ address: string; metrics: string }> {
    const config = this.#config;
    const logger = this.#logger;
    const telemetry = await startTelemetry(config.name, config.metricsPort);
    this.#running.defer(() => telemetry.stop());
    const database = this.#running.use(
      await Database.open({
        service: config.name,
        url: config.databaseUrl,
        file: join(config.home, 'prompt.sqlite'),
        entities: promptEntities,
        migrations: promptMigrations,
      }),
    );
    const signer = new IdentitySigner(config.meshKey);
    const rpc = { signer, tls: config.tls };
    const replicas = this.#running.use(
      new BalancedClient({
        ...{ balancerUrl: config.balancerUrl, service: config.name, rpc, logger },
        mayLeave: (text) => !holdsPersonalData(text),
      }),
    );
    const log = new InvocationLog({ database, logger });
    this.#running.defer(() => log.close(config.graceMs));
    const server = this.#server({ config, logger, database, replicas, log }, signer);
    const { host, port } = config.listen;
    const bound = await server.listen(host, port);
    const broker = this.#running.use(await Broker.connect(config.natsUrl, config.name, logger));
    const relay = this.#running.use(new OutboxRelay(database, broker, logger));
    relay.start();
    this.#running.defer(() => server.drain(config.graceMs));
    server.health.set('readiness', true);
    return { address: `${host}:${bound}`, metrics: telemetry.metricsUrl };
  }

  /** Not ready, running calls end within the grace period, then the rest in reverse order. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.disposeAsync();
  }

  #server(context: PromptContext, signer: IdentitySigner): RpcServer {
    const { config, logger } = context;
    return new RpcServer({ signer, logger, tls: config.tls }).add(PromptContract, {
      createPrompt: createPrompt(context),
      getPrompt: getPrompt(context),
      listPrompts: listPrompts(context),
      createVersion: createVersion(context),
      setLabel: setLabel(context),
      renderPrompt: renderPrompt(context),
      invoke: invoke(context),
      listInvocations: listInvocations(context),
      scoreInvocation: scoreInvocation(context),
      lintPrompt: lintPrompt(context),
    });
  }
}
