import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { natsServerCommand } from '@landfall/common/events/nats-server.ts';
import { type LauncherConfig, repositoryRoot } from '../config.ts';
import { MeshHome } from './home.ts';
import { ensureNatsServer } from './nats-binary.ts';
import { choosePorts } from './ports.ts';
import { markProcess } from './process-mark.ts';
import { answersHttp, answersNats, servesGrpc } from './readiness.ts';
import { type ProgramSpec, Supervisor } from './supervisor.ts';

/** How an outside client reaches a running mesh. */
export interface MeshAddress {
  /** Base URL of the gateway. */
  gateway: string;
  /** The first API key's secret; empty when its file was taken away. */
  apiKey: string;
  /** URL of the broker. */
  nats: string;
}

/** Services with a gRPC server: the folder of each by its name in the environment and in the launcher's record. */
const GRPC_SERVICES = {
  registry: 'registry',
  balancer: 'balancer',
  trainer: 'trainer',
  prompt: 'prompt',
  vision: 'vision-inference',
} as const;
type GrpcService = keyof typeof GRPC_SERVICES;
const grpcServices = Object.keys(GRPC_SERVICES) as GrpcService[];

const START_TIMEOUT_MS = 60_000;
const GRACE_MS = 15_000;

/**
 * The whole mesh as child processes of this one: broker, registry, balancer, trainer with a worker, prompt,
 * vision-inference, gateway; replicas of text-inference are started by the balancer. Whatever dies is started anew.
 *
 * Events: `exit` (service, code, signal) when a process dies unasked, `ready` (service).
 */
export class Mesh extends EventEmitter {
  readonly home: MeshHome;
  readonly #config: LauncherConfig;
  #ports: Record<string, number> = {};
  #supervisors = new Map<string, Supervisor>();
  #stopping = false;

  constructor(config: LauncherConfig) {
    super();
    this.#config = config;
    this.home = new MeshHome(config.home);
  }

  /** Starts everything and resolves when the gateway answers. */
  async start(): Promise<MeshAddress> {
    const before = this.home.claim();
    this.home.ensureMeshKey();
    const names = [...grpcServices, 'gateway', 'nats'];
    this.#ports = await choosePorts(names, { ...before, gateway: this.#config.gatewayPort });
    this.#record();
    try {
      if (!this.#config.natsUrl) await this.#run(this.#natsSpec());
      // The gateway is ready once all behind it are: nobody need wait to be started.
      await Promise.all([
        ...grpcServices.map((name) => this.#run(this.#grpcSpec(name))),
        this.#run(this.#workerSpec()),
        this.#run(this.#gatewaySpec(), 2 * START_TIMEOUT_MS),
      ]);
    } catch (error) {
      await this.stop();
      throw error;
    }
    return this.address;
  }

  get address(): MeshAddress {
    let apiKey = '';
    try {
      apiKey = readFileSync(this.home.firstKeyFile, 'utf8').trim();
    } catch {
      // Its owner took it away; keys can be made over AdminService with another one.
    }
    return { gateway: `http://127.0.0.1:${this.#ports.gateway}`, apiKey, nats: this.#natsUrl };
  }

  /** Port by service name. */
  get ports(): Readonly<Record<string, number>> {
    return this.#ports;
  }

  /** Process id by service name, of what runs now. */
  get processes(): Record<string, number> {
    const running = [...this.#supervisors].filter(([, s]) => s.mark !== undefined);
    return Object.fromEntries(running.map(([name, s]) => [name, s.pid!]));
  }

  /** Drains and ends everything: the edge first, the broker last. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const take = (name: string) => this.#supervisors.get(name)?.stop();
    await take('gateway');
    await Promise.all(['trainer-worker', 'prompt', 'vision'].map(take));
    const balancerRuns = this.#supervisors.get('balancer')?.mark !== undefined;
    await Promise.all(['trainer', 'balancer'].map(take));
    // A balancer that was killed and not yet started anew has left its replicas behind.
    if (!balancerRuns && this.#ports.balancer) await this.#sweepReplicas();
    await take('registry');
    await take('nats');
    this.#supervisors.clear();
    this.#record();
  }

  async #sweepReplicas(): Promise<void> {
    const sweep = spawn(process.execPath, [join(repositoryRoot, 'services/balancer/src/sweep-main.ts')], {
      env: this.#environment,
      stdio: 'ignore',
    });
    await once(sweep, 'exit');
  }

  get #natsUrl(): string {
    return this.#config.natsUrl || `nats://127.0.0.1:${this.#ports.nats}`;
  }

  get #environment(): NodeJS.ProcessEnv {
    const urls = grpcServices.map((name) => [
      `LANDFALL_${name.toUpperCase()}_URL`,
      `127.0.0.1:${this.#ports[name]}`,
    ]);
    return {
      // Compiled code is kept: half of what a process needs the processor for until it answers. Replicas have it, too.
      NODE_COMPILE_CACHE: join(repositoryRoot, 'node_modules/.cache/landfall'),
      ...this.#config.environment,
      ...Object.fromEntries(urls),
      LANDFALL_HOME: this.home.folder,
      LANDFALL_NATS_URL: this.#natsUrl,
      LANDFALL_MESH_KEY_FILE: this.home.meshKeyFile,
      LANDFALL_IMPORT_ROOT: this.#config.importRoot,
    };
  }

  async #run(spec: ProgramSpec, timeoutMs = START_TIMEOUT_MS): Promise<void> {
    const supervisor = new Supervisor(spec);
    this.#supervisors.set(spec.name, supervisor);
    supervisor.on('start', () => this.#record());
    supervisor.on('ready', () => this.emit('ready', spec.name));
    supervisor.on('exit', (code, signal) => {
      if (!this.#stopping) this.emit('exit', spec.name, code, signal);
    });
    await supervisor.start(timeoutMs);
  }

  #record(): void {
    const running = [...this.#supervisors].filter(([, s]) => s.mark !== undefined);
    this.home.writeRecord({
      launcher: markProcess(process.pid),
      ports: this.#ports,
      processes: Object.fromEntries(running.map(([name, s]) => [name, s.mark!])),
    });
  }

  #program(name: string, main: string, env: NodeJS.ProcessEnv, ready: ProgramSpec['ready']): ProgramSpec {
    return {
      name,
      command: process.execPath,
      args: [join(repositoryRoot, main)],
      env: { ...this.#environment, ...env },
      logFile: this.home.logFile(name),
      ready,
      graceMs: GRACE_MS,
    };
  }

  #grpcSpec(name: GrpcService): ProgramSpec {
    const address = `127.0.0.1:${this.#ports[name]}`;
    const main = `services/${GRPC_SERVICES[name]}/src/main.ts`;
    return this.#program(name, main, { LANDFALL_LISTEN: address }, (signal) => servesGrpc(address, signal));
  }

  /** A worker has no server: it is up once its process is, and its jobs' progress shows that it works. */
  #workerSpec(): ProgramSpec {
    return this.#program('trainer-worker', 'services/trainer/src/worker-main.ts', {}, async () => {});
  }

  #gatewaySpec(): ProgramSpec {
    const address = `127.0.0.1:${this.#ports.gateway}`;
    const env = { LANDFALL_LISTEN: address, LANDFALL_FIRST_KEY_FILE: this.home.firstKeyFile };
    return this.#program('gateway', 'gateway/src/main.ts', env, (signal) =>
      answersHttp(`http://${address}/readyz`, signal),
    );
  }

  #natsSpec(): ProgramSpec {
    const port = this.#ports.nats!;
    ensureNatsServer();
    const { command, args } = natsServerCommand(join(this.home.folder, 'nats'), port);
    return {
      name: 'nats',
      command,
      args,
      env: this.#config.environment,
      logFile: this.home.logFile('nats'),
      ready: (signal) => answersNats(port, signal),
      graceMs: GRACE_MS,
    };
  }
}
