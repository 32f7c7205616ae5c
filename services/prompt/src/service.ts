import { join } from 'node:path';
import { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { Database } from '@landfall/common/db/database.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { OutboxRelay } from '@landfall/common/events/outbox.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { Changes } from '@landfall/common/lifecycle/changes.ts';
import type { Service } from '@landfall/common/lifecycle/run-service.ts';
import { Sweeper } from '@landfall/common/lifecycle/sweeper.ts';
import { createLogger, type Logger } from '@landfall/common/log/logger.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import { holdsPersonalData } from '@landfall/masking/mask.ts';
import { PromptAccessService as PromptAccessContract } from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import { PromptDraftService as PromptDrafts } from '@landfall/proto/landfall/prompt/v1/draft_service_pb.js';
import { PromptEvaluationService as PromptEvaluations } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import { PromptExperimentService as PromptExperiments } from '@landfall/proto/landfall/prompt/v1/experiment_service_pb.js';
import { PromptLibraryService as PromptLibrary } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import { PromptLogService as PromptLog } from '@landfall/proto/landfall/prompt/v1/log_service_pb.js';
import { PromptService as PromptContract } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { DataSets } from './clients/data-sets.ts';
import type { PromptConfig } from './config.ts';
import type { PromptContext } from './context.ts';
import { promptEntities } from './db/entities.ts';
import { promptMigrations } from './db/migrations.ts';
import { observeInvocations } from './domain/experiment-observer.ts';
import { InvocationLog } from './domain/invocation-log.ts';
import { JudgeQueue } from './domain/judge-queue.ts';
import { scoreInvocations } from './domain/scoring.ts';
import { sweepLog } from './domain/sweep-log.ts';
import { DriftWatcher } from './drift/watcher.ts';
import { runEvaluation } from './evaluation/run-evaluation.ts';
import { JobRunner } from './jobs/runner.ts';
import { runOptimization } from './optimization/run-optimization.ts';
import { accessRoutes } from './routes/access.ts';
import { createPrompt } from './routes/create-prompt.ts';
import { createVersion } from './routes/create-version.ts';
import { diffVersions } from './routes/diff-versions.ts';
import { draftRoutes } from './routes/drafts/routes.ts';
import { evaluatePrompt } from './routes/evaluate-prompt.ts';
import { evaluationRoutes } from './routes/evaluation/routes.ts';
import { experimentRoutes } from './routes/experiments/routes.ts';
import { getPrompt } from './routes/get-prompt.ts';
import { invoke } from './routes/invoke.ts';
import { libraryRoutes } from './routes/library/routes.ts';
import { lintPrompt } from './routes/lint-prompt.ts';
import { listInvocations } from './routes/list-invocations.ts';
import { listPrompts } from './routes/list-prompts.ts';
import { listVersions } from './routes/list-versions.ts';
import { logRoutes } from './routes/log/routes.ts';
import { optimizePrompt } from './routes/optimize-prompt.ts';
import { renderPrompt } from './routes/render-prompt.ts';
import { scoreInvocation } from './routes/score-invocation.ts';
import { setLabel } from './routes/set-label.ts';

const LOG_SWEEP_MS = 600_000;

export interface Overrides {
  logger?: Logger;
}

/** Prompts: versioned templates, and their invocation against deployed models. */
export class PromptService implements Service {
  readonly #config: PromptConfig;
  readonly #logger: Logger;
  readonly #running = new AsyncDisposableStack();
  readonly #stopping = new AbortController();

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
    const judges = new JudgeQueue({ database, replicas, logger });
    const log = new InvocationLog({
      ...{ database, logger },
      observe: async (em, fresh) => {
        await observeInvocations(em, fresh);
        // A task is found by whoever looks behind the commit: the queue looks by itself as well.
        if (await scoreInvocations(em, fresh)) setTimeout(() => judges.poke(), 50).unref();
      },
    });
    this.#running.defer(() => log.close(config.graceMs));
    const context: PromptContext = {
      ...{ config, logger, database, replicas, log },
      dataSets: this.#dataSets(signer),
      jobs: new JobRunner({ evaluation: runEvaluation, optimization: runOptimization }),
      changes: new Changes(),
      stopping: this.#stopping.signal,
    };
    const server = this.#server(context, signer);
    const { host, port } = config.listen;
    const bound = await server.listen(host, port);
    const broker = this.#running.use(await Broker.connect(config.natsUrl, config.name, logger));
    const relay = this.#running.use(new OutboxRelay(database, broker, logger));
    relay.start();
    const jobs = this.#running.use(context.jobs);
    jobs.start(context);
    this.#running.use(new DriftWatcher()).start(context);
    this.#running.use(judges).start();
    const sweep = (signal: AbortSignal) => sweepLog(database, Date.now(), signal);
    this.#running.use(new Sweeper('old invocations', LOG_SWEEP_MS, sweep, logger));
    this.#running.defer(() => server.drain(config.graceMs));
    server.health.set('readiness', true);
    return { address: `${host}:${bound}`, metrics: telemetry.metricsUrl };
  }

  /** Not ready, running calls end within the grace period, then the rest in reverse order. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running.disposeAsync();
  }

  #dataSets(signer: IdentitySigner): DataSets {
    const { registryUrl, tls } = this.#config;
    if (registryUrl === '') return new DataSets(undefined);
    const registry = new RpcChannel(registryUrl, { signer, tls });
    this.#running.defer(() => registry.close());
    return new DataSets(registry.client(RegistryService));
  }

  #server(context: PromptContext, signer: IdentitySigner): RpcServer {
    const { config, logger } = context;
    return new RpcServer({ signer, logger, tls: config.tls })
      .add(PromptAccessContract, accessRoutes(context))
      .add(PromptContract, {
        createPrompt: createPrompt(context),
        getPrompt: getPrompt(context),
        listPrompts: listPrompts(context),
        createVersion: createVersion(context),
        listVersions: listVersions(context),
        diffVersions: diffVersions(context),
        setLabel: setLabel(context),
        renderPrompt: renderPrompt(context),
        invoke: invoke(context),
        listInvocations: listInvocations(context),
        scoreInvocation: scoreInvocation(context),
        lintPrompt: lintPrompt(context),
        evaluatePrompt: evaluatePrompt(context),
        optimizePrompt: optimizePrompt(context),
      })
      .add(PromptDrafts, draftRoutes(context))
      .add(PromptLibrary, libraryRoutes(context))
      .add(PromptEvaluations, evaluationRoutes(context))
      .add(PromptExperiments, experimentRoutes(context))
      .add(PromptLog, logRoutes(context));
  }
}
