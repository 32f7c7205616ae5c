import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Env } from '@landfall/common/config/env.ts';
import { findByEnvironment, isRunning, processMark } from './process-mark.ts';
import { residentMib } from './resident-memory.ts';
import {
  NoMemoryError,
  type ReplicaExit,
  type ReplicaRecord,
  type ReplicaSpec,
  type RunningReplica,
  type Runtime,
  type RuntimeSettings,
} from './runtime.ts';

export interface ChildProcessOptions {
  command: readonly [string, ...string[]];
  environment: Env;
  /** Folder for what replicas write, a file each. */
  logFolder: string;
}

const ID_VARIABLE = 'LANDFALL_REPLICA_ID';
const HOST = '127.0.0.1';
/** How often an adopted process is looked at: its end sends no signal to this one. */
const WATCH_MS = 200;
const KEPT_LOGS = 32;

/**
 * Replicas as processes of this machine on free loopback ports. Each leads a session of its own and writes to a file,
 * so that it outlives the balancer that started it and the next one can adopt it.
 */
export class ChildProcesses implements Runtime {
  readonly #options: ChildProcessOptions;
  /** Memory that running replicas were declared to need, in MiB, by id. */
  readonly #promisedMib = new Map<string, number>();

  constructor(options: ChildProcessOptions) {
    this.#options = options;
    mkdirSync(options.logFolder, { recursive: true, mode: 0o700 });
  }

  async place(): Promise<string> {
    const server = createServer().listen(0, HOST);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, 'close');
    return `${HOST}:${port}`;
  }

  async start(spec: ReplicaSpec): Promise<RunningReplica> {
    const { command, environment, logFolder } = this.#options;
    this.#promise(spec);
    this.#dropOldLogs();
    const [program, ...args] = command;
    const log = openSync(join(logFolder, `${spec.id}.log`), 'a', 0o600);
    try {
      const child = spawn(program, args, {
        detached: true,
        stdio: ['ignore', log, log],
        env: {
          ...environment,
          LANDFALL_LISTEN: spec.address,
          LANDFALL_MODEL: spec.base,
          LANDFALL_TENANT: spec.tenant,
          LANDFALL_METRICS_PORT: '0',
          ...settingVariables(spec.settings),
          [ID_VARIABLE]: spec.id,
        },
      });
      const exited = new Promise<ReplicaExit>((resolve) => {
        child.once('exit', (code, signal) => resolve({ code, signal }));
      });
      child.once('exit', () => this.#promisedMib.delete(spec.id));
      await once(child, 'spawn');
      child.unref();
      const pid = child.pid!;
      return new OwnProcess(pid, processMark(pid) ?? '', exited, () => {});
    } catch (error) {
      this.#promisedMib.delete(spec.id);
      throw error;
    } finally {
      closeSync(log);
    }
  }

  async adopt(record: ReplicaRecord): Promise<RunningReplica | undefined> {
    const known = record.pid > 0 && isRunning(record.pid, record.mark);
    const pid = known ? record.pid : record.pid > 0 ? undefined : findByEnvironment(ID_VARIABLE, record.id);
    const mark = known ? record.mark : pid && processMark(pid);
    if (!pid || !mark) return undefined;
    const watching = new AbortController();
    const exited = watch(pid, mark, watching.signal);
    this.#promisedMib.set(record.id, record.settings.memoryMib);
    void exited.then(() => this.#promisedMib.delete(record.id));
    return new OwnProcess(pid, mark, exited, () => watching.abort());
  }

  /** @throws NoMemoryError when what was promised to all would be more than there is */
  #promise({ id, settings: { memoryMib } }: ReplicaSpec): void {
    const promised = [...this.#promisedMib.values()].reduce((sum, each) => sum + each, 0);
    const allMib = Math.floor(totalmem() / 2 ** 20);
    if (memoryMib > 0 && promised + memoryMib > allMib) throw new NoMemoryError(memoryMib, promised, allMib);
    this.#promisedMib.set(id, memoryMib);
  }

  #dropOldLogs(): void {
    const { logFolder } = this.#options;
    const files = readdirSync(logFolder).map((name) => join(logFolder, name));
    if (files.length <= KEPT_LOGS) return;
    const byAge = files
      .map((file) => ({ file, ms: statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
      .sort((a, b) => b.ms - a.ms);
    for (const { file } of byAge.slice(KEPT_LOGS)) rmSync(file, { force: true });
  }
}

/** What is set of a replica's settings, as text-inference reads it. */
function settingVariables({ maxBatch, threads, quantization }: RuntimeSettings): Env {
  return {
    ...(maxBatch > 0 ? { LANDFALL_TEXT_MAX_BATCH: String(maxBatch) } : {}),
    ...(threads > 0 ? { LANDFALL_TEXT_THREADS: String(threads) } : {}),
    ...(quantization ? { LANDFALL_TEXT_QUANTIZATION: quantization } : {}),
  };
}

/** A process that is signalled only as long as it is the one that was started. */
class OwnProcess implements RunningReplica {
  readonly pid: number;
  readonly mark: string;
  readonly exited: Promise<ReplicaExit>;
  readonly forget: () => void;

  constructor(pid: number, mark: string, exited: Promise<ReplicaExit>, forget: () => void) {
    this.pid = pid;
    this.mark = mark;
    this.exited = exited;
    this.forget = forget;
  }

  residentMib(): number | undefined {
    return isRunning(this.pid, this.mark) ? residentMib(this.pid) : undefined;
  }

  terminate(): void {
    this.#signal('SIGTERM');
  }

  kill(): void {
    this.#signal('SIGKILL');
  }

  #signal(signal: NodeJS.Signals): void {
    if (!isRunning(this.pid, this.mark)) return;
    try {
      process.kill(this.pid, signal);
    } catch {
      // It has ended in this very moment.
    }
  }
}

async function watch(pid: number, mark: string, signal: AbortSignal): Promise<ReplicaExit> {
  while (isRunning(pid, mark)) {
    try {
      await delay(WATCH_MS, undefined, { signal, ref: false });
    } catch {
      // Nobody watches any more: never resolves, as the process goes on.
      return new Promise(() => {});
    }
  }
  return { code: null, signal: null };
}
