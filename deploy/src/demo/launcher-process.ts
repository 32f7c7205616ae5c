import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { repositoryRoot } from '../config.ts';
import type { MeshAddress } from '../mesh/mesh.ts';

/** A mesh in a process of its own, so that it can outlive the one that asked for it. */
export class LauncherProcess {
  readonly #child: ChildProcess;
  readonly address: MeshAddress;
  #stopping: Promise<void> | undefined;

  private constructor(child: ChildProcess, address: MeshAddress) {
    this.#child = child;
    this.address = address;
  }

  /**
   * Starts the launcher as `npm start` does and resolves with the addresses of its ready line.
   * @throws Error with the launcher's last words when it ends before it is ready.
   */
  static async start(
    home: string,
    env: NodeJS.ProcessEnv,
    onLine: (line: string) => void,
  ): Promise<LauncherProcess> {
    mkdirSync(join(home, 'logs'), { recursive: true });
    // Standard error goes to a file where the launcher is left running: a pipe would break when its reader ends.
    const log = openSync(join(home, 'logs/launcher.log'), 'a');
    const child = spawn(process.execPath, [join(repositoryRoot, 'deploy/src/main.ts')], {
      env: { ...env, LANDFALL_HOME: home },
      stdio: ['ignore', 'pipe', log],
      detached: true,
    });
    closeSync(log);
    const ended = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`the mesh ended before it was ready (${signal ?? code}); see ${join(home, 'logs')}`);
    });
    // A later, normal end is nobody's error.
    ended.catch(() => {});
    const lines = createInterface({ input: child.stdout! });
    const ready = new Promise<MeshAddress>((resolve) => {
      lines.on('line', (line) => {
        onLine(line);
        if (line.startsWith('ready ')) resolve(JSON.parse(line.slice('ready '.length)) as MeshAddress);
      });
    });
    const address = await Promise.race([ready, ended]);
    return new LauncherProcess(child, address);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Lets it run on after this process. */
  leave(): void {
    this.#child.stdout?.destroy();
    this.#child.unref();
  }

  /**
   * Drains and ends the mesh; resolves when every process of it is gone. It is told once, whoever asks: a second signal
   * would end the launcher amid its draining and leave its services behind.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#end();
    return this.#stopping;
  }

  async #end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await gone;
  }
}
