import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type NatsServer, startNatsServer } from '@landfall/common/events/nats-server.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { ReplicaTarget } from './serve-target.ts';

const SERVICES = join(import.meta.dirname, '..', '..', '..', 'services');
const START_MS = 120_000;

/** Services of the bench, each in a process of its own as the launcher runs it, in one folder that goes with them. */
export class ServiceProcesses implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'landfall-bench-'));
  readonly #signer: IdentitySigner;
  readonly #children: ChildProcess[] = [];
  readonly #channels: RpcChannel[] = [];
  #broker: NatsServer | undefined;

  constructor() {
    const key = randomBytes(48);
    writeFileSync(this.#keyFile, key, { mode: 0o600 });
    this.#signer = new IdentitySigner(key);
  }

  get #keyFile(): string {
    return join(this.folder, 'mesh.key');
  }

  /** Resolves with the ready line of a service once it answers. */
  async start(service: string, env: Record<string, string>): Promise<ReadyLine> {
    const child = spawn(process.execPath, [join(SERVICES, service, 'src', 'main.ts')], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        PATH: process.env.PATH,
        LANDFALL_HOME: this.folder,
        LANDFALL_MESH_KEY_FILE: this.#keyFile,
        LANDFALL_LISTEN: '127.0.0.1:0',
        // Nobody listens there: a replica serves without its broker.
        LANDFALL_NATS_URL: 'nats://127.0.0.1:1',
        LANDFALL_LOG_LEVEL: 'error',
        LANDFALL_END_WITH_PARENT: 'true',
        ...env,
      },
    });
    this.#children.push(child);
    const gone = once(child, 'exit').then(([code]) => {
      throw new Error(`${service} ended with ${code} before it was ready`);
    });
    const line = once(createInterface({ input: child.stdout! }), 'line', {
      signal: AbortSignal.timeout(START_MS),
    });
    const [text] = await Promise.race([line, gone]);
    gone.catch(() => {});
    return JSON.parse(text as string) as ReadyLine;
  }

  channel(address: string): RpcChannel {
    const identity = { subject: 'service:bench', tenant: 'default', role: Role.EDITOR };
    const channel = new RpcChannel(address, { signer: this.#signer, identity });
    this.#channels.push(channel);
    return channel;
  }

  /** A broker that outlives the services; resolves with its URL. */
  async broker(): Promise<string> {
    this.#broker = await startNatsServer({ folder: join(this.folder, 'nats') });
    return this.#broker.url;
  }

  /** A replica on a local folder, and a client of it. */
  async replica(options: ReplicaOptions, env: Record<string, string> = {}): Promise<Replica> {
    const ready = await this.start('text-inference', {
      LANDFALL_MODEL_FOLDER: options.model,
      LANDFALL_TEXT_THREADS: String(options.threads),
      LANDFALL_TEXT_QUANTIZATION: options.quantization,
      ...env,
    });
    const channel = this.channel(ready.address);
    return {
      ...ready,
      target: new ReplicaTarget(channel.client(TextInferenceService), () => channel.close()),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const channel of this.#channels) channel.close();
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    }
    await this.#broker?.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface ReplicaOptions {
  /** Hugging Face folder. */
  model: string;
  threads: number;
  quantization: string;
}

export interface ReadyLine {
  address: string;
  pid: number;
  /** URL of its Prometheus endpoint. */
  metrics: string;
}

export interface Replica extends ReadyLine {
  target: ReplicaTarget;
}

/** Resident memory of a process, in MiB. */
export function residentMiB(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return Number(kib) / 1024;
}
