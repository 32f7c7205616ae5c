import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Database } from '@landfall/common/db/database.ts';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import { notFound } from '@landfall/common/errors/errors.ts';
import { startNatsServer } from '@landfall/common/events/nats-server.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { RpcChannel, type RpcClient } from '@landfall/common/rpc/client.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { PromptAccessService } from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import { PromptDraftService } from '@landfall/proto/landfall/prompt/v1/draft_service_pb.js';
import { PromptEvaluationService as EvaluationContract } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import { PromptExperimentService } from '@landfall/proto/landfall/prompt/v1/experiment_service_pb.js';
import { PromptLibraryService } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import type { Invocation } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { PromptService as PromptContract } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import {
  type GenerateRequest,
  type GenerateResponseSchema,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { readConfig } from '../src/config.ts';
import { promptEntities } from '../src/db/entities.ts';
import { promptMigrations } from '../src/db/migrations.ts';
import { PromptService } from '../src/service.ts';

/** What a deployment's replica says. */
export type Replica = (
  request: GenerateRequest,
  context: CallContext,
) => AsyncGenerator<MessageInitShape<typeof GenerateResponseSchema>>;

/** The service among real servers: a broker, a database, and a replica for each deployment. */
export interface Stage extends AsyncDisposable {
  readonly prompts: RpcClient<typeof PromptContract>;
  readonly drafts: RpcClient<typeof PromptDraftService>;
  readonly library: RpcClient<typeof PromptLibraryService>;
  readonly evaluations: RpcClient<typeof EvaluationContract>;
  readonly access: RpcClient<typeof PromptAccessService>;
  readonly channel: RpcChannel;
  readonly experiments: RpcClient<typeof PromptExperimentService>;
  natsUrl: string;
  /** Runs a statement on the service's database, beside the service. */
  sql(statement: string): Promise<unknown>;
  /** Starts a second process's worth of the service on the same database; undefined on SQLite, which one process holds. */
  peer(): Promise<Pick<Stage, 'prompts' | 'access'> | undefined>;
  /** Ends the service and starts it anew on the same database. */
  restart(): Promise<void>;
}

export const editor = { subject: 'key:editor', tenant: 'acme', role: Role.EDITOR };

/** @returns undefined where PostgreSQL is asked for and not installed */
export async function stage(
  deployments: Record<string, Replica>,
  env: Record<string, string> = {},
): Promise<Stage | undefined> {
  const place = await testDatabase();
  if (!place) return undefined;
  const running = new AsyncDisposableStack();
  running.use(place);
  const folder = mkdtempSync(join(tmpdir(), 'landfall-prompt-'));
  running.defer(() => rmSync(folder, { recursive: true, force: true }));
  const nats = running.use(await startNatsServer({ folder: join(folder, 'nats') }));
  const key = randomBytes(48);
  const signer = new IdentitySigner(key);
  const logger = createLogger('test', 'silent');
  const ports = new Map<string, number>();
  for (const [name, generate] of Object.entries(deployments)) {
    const server = new RpcServer({ signer, logger }).add(TextInferenceService, { generate });
    ports.set(name, await server.listen('127.0.0.1', 0));
    running.defer(() => server.drain(100));
  }
  const balancer = new RpcServer({ signer, logger }).add(BalancerService, {
    async *watchEndpoints({ deployment: name }, { signal }) {
      const port = ports.get(name);
      if (!port) throw notFound(`there is no deployment '${name}'`);
      yield {
        endpoints: [{ id: name, address: `127.0.0.1:${port}`, state: EndpointState.READY, weight: 1 }],
        model: `models:/${name}/1.0.0`,
        base: `models:/${name}/1.0.0`,
        revision: 1n,
      };
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  });
  const port = await balancer.listen('127.0.0.1', 0);
  running.defer(() => balancer.drain(100));
  writeFileSync(join(folder, 'mesh.key'), key);
  const config = readConfig({
    LANDFALL_HOME: folder,
    LANDFALL_NATS_URL: nats.url,
    LANDFALL_DATABASE_URL: place.url,
    LANDFALL_MESH_KEY_FILE: join(folder, 'mesh.key'),
    LANDFALL_BALANCER_URL: `127.0.0.1:${port}`,
    ...env,
  });
  const start = async () => {
    const service = await PromptService.create(config, { logger });
    const channel = new RpcChannel((await service.start()).address, { signer, identity: editor });
    return {
      service,
      channel,
      prompts: channel.client(PromptContract),
      drafts: channel.client(PromptDraftService),
      library: channel.client(PromptLibraryService),
      evaluations: channel.client(EvaluationContract),
      access: channel.client(PromptAccessService),
      experiments: channel.client(PromptExperimentService),
    };
  };
  let now = await start();
  const stop = async () => {
    now.channel.close();
    await now.service[Symbol.asyncDispose]();
  };
  return {
    natsUrl: nats.url,
    get prompts() {
      return now.prompts;
    },
    get experiments() {
      return now.experiments;
    },
    get drafts() {
      return now.drafts;
    },
    get library() {
      return now.library;
    },
    get evaluations() {
      return now.evaluations;
    },
    get access() {
      return now.access;
    },
    get channel() {
      return now.channel;
    },
    async sql(statement) {
      await using database = await Database.open({
        ...{ service: 'prompt', url: place.url, file: join(folder, 'prompt', 'prompt.sqlite') },
        ...{ entities: promptEntities, migrations: promptMigrations },
      });
      return await database.fork().getConnection().execute(statement);
    },
    async peer() {
      if (place.kind === 'sqlite') return undefined;
      const other = await start();
      running.defer(async () => {
        other.channel.close();
        await other.service[Symbol.asyncDispose]();
      });
      return other;
    },
    async restart() {
      await stop();
      now = await start();
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await running.disposeAsync();
    },
  };
}

/** What a caller sees of an invocation: the text with its resets, and the last message's entry. */
export async function invoked(
  { prompts }: Stage,
  request: Parameters<RpcClient<typeof PromptContract>['invoke']>[0],
): Promise<{ text: string; resets: number; invocation: Invocation }> {
  let [text, resets] = ['', 0];
  let invocation: Invocation | undefined;
  for await (const part of prompts.invoke(request)) {
    if (part.reset) {
      text = '';
      resets++;
    }
    text += part.delta;
    invocation = part.invocation ?? invocation;
  }
  return { text, resets, invocation: invocation! };
}
