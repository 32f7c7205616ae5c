import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Answer, Task } from './protocol.ts';

const MAIN = fileURLToPath(new URL('./reader-main.ts', import.meta.url));

/** The process ended while it had something to do, or did not answer in time. */
export class ReaderLost extends Error {
  override readonly name = 'ReaderLost';
  readonly isLate: boolean;

  constructor(message: string, isLate: boolean) {
    super(message);
    this.isLate = isLate;
  }
}

/** A process that reads images, one at a time. */
export class ReaderProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<string>;
  #isLost = false;

  /** @param threads of one reading */
  constructor(threads: number) {
    this.#child = fork(MAIN, [String(threads)], {
      // Images come as they are, and not as texts.
      serialization: 'advanced',
      // Nothing that the gateway was told is for a process that meets the bytes of strangers.
      env: {},
      execArgv: [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.#ended = new Promise((resolve) => {
      const end = (how: string) => {
        this.#isLost = true;
        resolve(how);
      };
      this.#child.once('error', ({ message }) => end(`could not be started: ${message}`));
      this.#child.once('exit', (code, signal) => end(`ended with ${signal ?? `code ${code}`}`));
    });
  }

  /** Whether it has ended or was told to: nothing more can be asked of it. */
  get isLost(): boolean {
    return this.#isLost;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /**
   * @param timeoutMs after which the process is ended: nothing else stops a decoder
   * @throws ReaderLost
   */
  async run(task: Task, timeoutMs: number): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const late = setTimeout(() => {
      reject(new ReaderLost(`an image was not read within ${timeoutMs} ms`, true));
      this.#kill();
    }, timeoutMs);
    const lost = (how: string) => reject(new ReaderLost(`the process that reads images ${how}`, false));
    this.#ended.then(lost);
    this.#child.once('message', resolve as (message: unknown) => void);
    try {
      // Its failure to send is told by its end.
      if (!this.#isLost) this.#child.send(task, () => {});
      return await promise;
    } finally {
      clearTimeout(late);
      this.#child.off('message', resolve as (message: unknown) => void);
    }
  }

  /** Ends it at once. */
  async end(): Promise<void> {
    this.#kill();
    await this.#ended;
  }

  #kill(): void {
    this.#isLost = true;
    this.#child.kill('SIGKILL');
  }
}
