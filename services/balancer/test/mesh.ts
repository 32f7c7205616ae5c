/** A broker, a database, a registry that serves a list, and a balancer, all on free loopback ports. */

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  create,
  type DescMessage,
  fromJsonString,
  type MessageShape,
  toJsonString,
} from '@bufbuild/protobuf';
import { BalancedClient, type BalancedClientOptions } from '@landfall/common/balancing/balanced-client.ts';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import { notFound } from '@landfall/common/errors/errors.ts';
import { Broker, EVENT_STREAM } from '@landfall/common/events/broker.ts';
import { type NatsServer, startNatsServer } from '@landfall/common/events/nats-server.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { RpcChannel, type RpcClient } from '@landfall/common/rpc/client.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { programEnv } from '@landfall/common/test/program-env.ts';
import { BalancerService as BalancerContract } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import {
  AliasMovedSchema,
  type DeploymentChanged,
  DeploymentChangedSchema,
} from '@landfall/proto/landfall/event/v1/events_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { readConfig } from '../src/config.ts';
import { processMark } from '../src/runtime/process-mark.ts';
import { BalancerService } from '../src/service.ts';

export const BASE = 'models:/base/1.0.0';
export const OTHER_BASE = 'models:/other-base/1.0.0';
export const ADAPTER = 'models:/medical-qa/1.0.0';
export const ADAPTER_2 = 'models:/medical-qa/2.0.0';
export const DRAFT = 'models:/medical-qa/3.0.0';
export const WRONG = 'models:/wrong-base/1.0.0';

/** One of the adapters `a` to `d` of the base. */
export const smallAdapter = (name: string) => `models:/small-${name}/1.0.0`;

const version = (ref: string, kind: Kind, base = '', state = VersionState.READY) => {
  const [, name, number] = ref.split('/');
  return { ref, name: name!, version: number!, kind, state, lineage: { base } };
};

const VERSIONS = [
  version(BASE, Kind.BASE),
  version(OTHER_BASE, Kind.BASE),
  version(ADAPTER, Kind.ADAPTER, BASE),
  version(ADAPTER_2, Kind.ADAPTER, BASE),
  version(DRAFT, Kind.ADAPTER, BASE, VersionState.DRAFT),
  version(WRONG, Kind.ADAPTER, BASE),
  ...['a', 'b', 'c', 'd'].map((name) => version(smallAdapter(name), Kind.ADAPTER, BASE)),
  version('models:/no-base/1.0.0', Kind.ADAPTER, 'models:/gone/1.0.0'),
  version('models:/rows/1.0.0', Kind.DATASET),
];

export const editor: Identity = { subject: 'key:editor', tenant: 'acme', role: Role.EDITOR };

/** A balancer under test: in this process, or as one of its own that can be killed. */
export interface TestBalancer {
  client: RpcClient<typeof BalancerContract>;
  address: string;
  /** Of a balancer with a process of its own. */
  pid: number;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

export class TestMesh implements AsyncDisposable {
  readonly folder: string;
  nats: NatsServer;
  readonly signer: IdentitySigner;
  readonly env: Record<string, string>;
  readonly logger = createLogger('test', process.env.LANDFALL_LOG_LEVEL || 'silent');
  /** Versions that the registry's aliases (`models:/name@alias`) stand for. */
  readonly #aliases: Map<string, string>;
  readonly #stack: AsyncDisposableStack;

  /** @returns undefined where the database that is asked for can't be had */
  static async start(): Promise<TestMesh | undefined> {
    const stack = new AsyncDisposableStack();
    const database = await testDatabase();
    if (!database) return undefined;
    stack.use(database);
    const folder = mkdtempSync(join(tmpdir(), 'landfall-balancer-'));
    stack.defer(() => rmSync(folder, { recursive: true, force: true }));
    const nats = await startNatsServer({ folder: join(folder, 'nats') });
    const keyFile = join(folder, 'mesh.key');
    writeFileSync(keyFile, randomBytes(48));
    const signer = new IdentitySigner(readFileSync(keyFile));
    const aliases = new Map(['base', 'medical-qa'].map((name) => [`models:/${name}@production`, '1.0.0']));
    const registry = new RpcServer({ signer, logger: createLogger('registry', 'silent') });
    registry.add(RegistryService, {
      getVersion({ name, version: wanted }) {
        const number = aliases.get(`models:/${name}${wanted}`) ?? wanted;
        const found = VERSIONS.find((each) => each.name === name && each.version === number);
        if (!found) throw notFound(`models:/${name}/${wanted} does not exist`);
        return { version: found };
      },
    });
    const port = await registry.listen('127.0.0.1', 0);
    stack.defer(() => registry.drain(0));
    const env = {
      ...programEnv(),
      LANDFALL_HOME: join(folder, 'home'),
      LANDFALL_NATS_URL: nats.url,
      LANDFALL_DATABASE_URL: database.url,
      LANDFALL_MESH_KEY_FILE: keyFile,
      LANDFALL_REGISTRY_URL: `127.0.0.1:${port}`,
      LANDFALL_LOG_LEVEL: process.env.LANDFALL_LOG_LEVEL || 'silent',
      LANDFALL_GRACE_MS: '3000',
      LANDFALL_METRICS_PORT: '-1',
      LANDFALL_REPLICA_COMMAND: JSON.stringify([
        process.execPath,
        join(import.meta.dirname, 'stand-in-replica.ts'),
      ]),
      LANDFALL_REPLICA_HEALTH_INTERVAL_MS: '200',
    };
    mkdirSync(env.LANDFALL_HOME);
    return new TestMesh(folder, nats, signer, env, aliases, stack.move());
  }

  private constructor(
    folder: string,
    nats: NatsServer,
    signer: IdentitySigner,
    env: Record<string, string>,
    aliases: Map<string, string>,
    stack: AsyncDisposableStack,
  ) {
    this.#aliases = aliases;
    this.folder = folder;
    this.nats = nats;
    this.signer = signer;
    this.env = env;
    this.#stack = stack;
    this.#stack.defer(() => this.nats[Symbol.asyncDispose]());
  }

  /** The broker again where it was, with what it had. */
  async restartNats(): Promise<void> {
    this.nats = await startNatsServer({ folder: join(this.folder, 'nats'), port: this.nats.port });
  }

  /** Points an alias of the registry elsewhere, and tells of it unless it is to be missed. */
  async moveAlias(name: string, alias: string, toVersion: string, tells = true): Promise<void> {
    this.#aliases.set(`models:/${name}@${alias}`, toVersion);
    if (!tells) return;
    await using broker = await Broker.connect(this.nats.url, 'test', this.logger);
    const event = create(AliasMovedSchema, { tenant: editor.tenant, name, alias, toVersion });
    await broker.js.publish('landfall.registry.alias.moved.v1', toJsonString(AliasMovedSchema, event));
  }

  deploymentEvents(): Promise<DeploymentChanged[]> {
    return this.events('landfall.balancer.deployment.changed.v1', DeploymentChangedSchema);
  }

  /** All events of a subject from the stream's beginning, as they come; repeats (by `ce-id`) are left out. */
  async events<S extends DescMessage>(subject: string, schema: S): Promise<MessageShape<S>[]> {
    const broker = await Broker.connect(this.nats.url, 'test', this.logger);
    this.#stack.use(broker);
    const events: MessageShape<S>[] = [];
    const ids = new Set<string>();
    const { name } = await broker.manager.consumers.add(EVENT_STREAM, {
      filter_subject: subject,
      deliver_policy: 'all',
      ack_policy: 'none',
    });
    const consumer = await broker.js.consumers.get(EVENT_STREAM, name);
    const messages = await consumer.consume();
    void (async () => {
      for await (const message of messages) {
        const id = message.headers?.get('ce-id') ?? '';
        if (!ids.has(id)) events.push(fromJsonString(schema, message.string()));
        ids.add(id);
      }
    })().catch(() => {});
    return events;
  }

  /** A balancer in this process. */
  async balancer(env: Record<string, string> = {}): Promise<TestBalancer> {
    const config = readConfig({ ...this.env, ...env });
    const service = await BalancerService.create(config, { logger: this.logger });
    const { address } = await service.start();
    const stop = once1(() => service[Symbol.asyncDispose]());
    return this.#balancer(address, process.pid, stop, stop);
  }

  /** A balancer in a process of its own. */
  async balancerProcess(env: Record<string, string> = {}): Promise<TestBalancer> {
    const main = join(import.meta.dirname, '../src/main.ts');
    const child = spawn(process.execPath, [main], {
      env: { ...this.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const address = await readyAddress(child);
    const end = (signal: NodeJS.Signals) => async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill(signal);
      await gone;
    };
    return this.#balancer(address, child.pid!, end('SIGTERM'), end('SIGKILL'));
  }

  /** A client of the replicas, in an editor's name unless told otherwise. */
  balanced(balancerUrl: string, more: Partial<BalancedClientOptions> = {}): BalancedClient {
    const rpc = { signer: this.signer, identity: editor };
    const client = new BalancedClient({ balancerUrl, service: 'test', rpc, logger: this.logger, ...more });
    this.#stack.use(client);
    return client;
  }

  channel(address: string, identity = editor): RpcChannel {
    const channel = new RpcChannel(address, { signer: this.signer, identity });
    this.#stack.defer(() => channel.close());
    return channel;
  }

  /** What a replica has written. */
  log(id: string): string {
    return readFileSync(join(this.env.LANDFALL_HOME!, 'balancer/replicas', `${id}.log`), 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #balancer(
    address: string,
    pid: number,
    stop: () => Promise<void>,
    kill: () => Promise<void>,
  ): TestBalancer {
    this.#stack.defer(stop);
    return { address, pid, stop, kill, client: this.channel(address).client(BalancerContract) };
  }
}

/** The address in the line that a service prints when it answers. */
async function readyAddress(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout!) {
    text += chunk;
    const line = text.split('\n').find((each) => each.includes('"ready":true'));
    if (line) return JSON.parse(line).address;
  }
  throw new Error(`the balancer ended before it answered: ${text}`);
}

function once1(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => {
    done ??= work();
    return done;
  };
}

/** Calls of a deployment without a pause, each in another subject's name, until they are told to stop. */
export function keepCalling(calls: BalancedClient, deployment: string, prompt = 'count 5', callers = 3) {
  const over = new AbortController();
  /** Models that answered, in order. */
  const models: string[] = [];
  const failures: unknown[] = [];
  let subjects = 0;
  const caller = async () => {
    while (!over.signal.aborted) {
      const identity = { ...editor, subject: `key:${subjects++}` };
      try {
        for await (const { model } of calls.generate({ deployment }, { prompt }, { identity }))
          if (model) models.push(model);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  const all = Promise.all(Array.from({ length: callers }, caller));
  const stop = async () => {
    over.abort();
    await all;
  };
  return { models, failures, stop };
}

/** Polls until the condition holds; the test's own time limit ends it. */
export async function until<T>(condition: () => Promise<T> | T): Promise<Exclude<T, false | undefined>> {
  for (;;) {
    const value = await condition();
    if (value) return value as Exclude<T, false | undefined>;
    await delay(20);
  }
}

export const isAlive = (pid: number | bigint) => processMark(Number(pid)) !== undefined;
