import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { markProcess, type ProcessMark } from './process-mark.ts';

/** What to run and how to know that it answers. */
export interface ProgramSpec {
  name: string;
  command: string;
  args: readonly string[];
  env: NodeJS.ProcessEnv;
  /** Standard output and error go to the end of this file. */
  logFile: string;
  /** Resolves when the program answers; called again after each restart. */
  ready: (signal: AbortSignal) => Promise<void>;
  /** Milliseconds that SIGTERM gets before SIGKILL. */
  graceMs: number;
}

const FIRST_BACKOFF_MS = 200;
const LONGEST_BACKOFF_MS = 10_000;
/** A program that has run this long starts its next back-off from the beginning. */
const STABLE_MS = 30_000;

/**
 * Keeps one program running: starts it, waits until it answers, starts it anew with growing pauses when it dies,
 * and ends it with SIGTERM, then SIGKILL after its grace period.
 *
 * Events: `start` (mark), `exit` (code, signal), `ready`.
 */
export class Supervisor extends EventEmitter {
  readonly spec: ProgramSpec;
  restarts = 0;
  #child: ChildProcess | undefined;
  #mark: ProcessMark | undefined;
  #stopping = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(spec: ProgramSpec) {
    super();
    this.spec = spec;
  }

  get mark(): ProcessMark | undefined {
    return this.#mark;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts the program and resolves when it first answers. */
  async start(timeoutMs: number): Promise<void> {
    const ready = once(this, 'ready', { signal: AbortSignal.timeout(timeoutMs) });
    this.#loop = this.#keep();
    try {
      await ready;
    } catch {
      throw new Error(
        `${this.spec.name} did not answer within ${timeoutMs / 1000} s; its log is ${this.spec.logFile}`,
      );
    }
  }

  /** Ends the program and resolves when it is gone. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const child = this.#child;
    if (child && child.exitCode === null && child.signalCode === null) {
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      const late = delay(this.spec.graceMs, 'late', { ref: false });
      if ((await Promise.race([gone, late])) === 'late') {
        child.kill('SIGKILL');
        await gone;
      }
    }
    await this.#loop;
  }

  async #keep(): Promise<void> {
    let backoffMs = FIRST_BACKOFF_MS;
    while (!this.#stopping.signal.aborted) {
      const startedAt = Date.now();
      await this.#runOnce();
      if (this.#stopping.signal.aborted) return;
      this.restarts += 1;
      backoffMs = Date.now() - startedAt > STABLE_MS ? FIRST_BACKOFF_MS : backoffMs;
      await delay(backoffMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
      backoffMs = Math.min(backoffMs * 2, LONGEST_BACKOFF_MS);
    }
  }

  async #runOnce(): Promise<void> {
    const log = openSync(this.spec.logFile, 'a');
    const child = spawn(this.spec.command, this.spec.args, {
      env: this.spec.env,
      stdio: ['ignore', log, log],
      // A group of its own: Ctrl-C reaches the launcher alone, which then drains the mesh in order.
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    const ended = new AbortController();
    const exit = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        this.emit('exit', error.message, null);
        resolve();
      });
      child.once('exit', (code, signal) => {
        this.emit('exit', code, signal);
        resolve();
      });
    });
    if (child.pid !== undefined) {
      this.#mark = markProcess(child.pid);
      this.emit('start', this.#mark);
      const signal = AbortSignal.any([ended.signal, this.#stopping.signal]);
      this.spec.ready(signal).then(
        () => this.emit('ready'),
        () => {},
      );
    }
    await exit;
    ended.abort();
    this.#mark = undefined;
  }
}
