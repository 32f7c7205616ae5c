import { failedPrecondition, resourceExhausted, unavailable } from '@landfall/common/errors/errors.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { ImageError } from '@landfall/images/errors.ts';
import type { Area } from '@landfall/images/painted.ts';
import type { Reading } from '@landfall/ocr/reading.ts';
import type { Answer, Task } from './protocol.ts';
import { ReaderLost, ReaderProcess } from './reader-process.ts';

export interface ImageReadersOptions {
  /** Images that are read at once, each in a process of its own. */
  processes: number;
  /** Threads of one reading. */
  threads: number;
  /** Most milliseconds that one image is read or painted for. */
  timeoutMs: number;
  /** Most images that wait. */
  mostWaiting: number;
  logger: Logger;
}

/** When a caller may come again who found the queue full. */
const RETRY_MS = 1000;

interface Waiting {
  begin(process: ReaderProcess): void;
  leave(cause: unknown): void;
}

/**
 * Reads the text of images in processes that are started when the first image comes. What cannot be read is an error, and
 * never a reading without text.
 */
export class ImageReaders implements AsyncDisposable {
  readonly #options: ImageReadersOptions;
  readonly #idle: ReaderProcess[] = [];
  readonly #running = new Set<ReaderProcess>();
  readonly #queue: Waiting[] = [];
  #closed = false;

  constructor(options: ImageReadersOptions) {
    this.#options = options;
  }

  /** Images that wait for a process. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Ids of the processes that there are. */
  get processes(): number[] {
    return [...this.#idle, ...this.#running].flatMap(({ pid, isLost }) => (pid && !isLost ? [pid] : []));
  }

  /**
   * The text of an image and where it stands. An image with transparent parts is read over white and over black: which
   * of them a model will see it on is not known.
   * @param signal of the caller: nobody waits for those who have left
   * @throws ImageError for what is no image that is taken
   * @throws LandfallError RESOURCE_EXHAUSTED where too many wait, FAILED_PRECONDITION (IMAGE_UNREAD) where it takes too
   *   long, UNAVAILABLE where its process is lost
   */
  async read(bytes: Uint8Array, signal: AbortSignal): Promise<readonly Reading[]> {
    const answer = await this.#run({ kind: 'read', bytes }, signal);
    if (answer.kind !== 'read') throw new Error(`reading an image was answered by ${answer.kind}`);
    return answer.readings;
  }

  /** The image with areas painted over. @throws as read */
  async paint(bytes: Uint8Array, areas: readonly Area[], signal: AbortSignal): Promise<Uint8Array> {
    const answer = await this.#run({ kind: 'paint', bytes, areas }, signal);
    if (answer.kind !== 'painted') throw new Error(`painting an image was answered by ${answer.kind}`);
    return answer.bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const waiting of this.#queue.splice(0)) waiting.leave(unavailable('the gateway is ending'));
    await Promise.all([...this.#idle, ...this.#running].map((process) => process.end()));
  }

  async #run(task: Task, signal: AbortSignal): Promise<Answer> {
    const process = await this.#process(signal);
    let answer: Answer;
    try {
      answer = await process.run(task, this.#options.timeoutMs);
    } catch (cause) {
      throw this.#failure(cause);
    } finally {
      this.#next(process);
    }
    if (answer.kind === 'refused') throw new ImageError(answer.fault, answer.message);
    if (answer.kind === 'failed') {
      this.#options.logger.error({ reason: answer.message }, 'an image could not be read');
      throw unavailable('the image could not be read; send it again', { retryAfterMs: RETRY_MS });
    }
    return answer;
  }

  #failure(cause: unknown): unknown {
    if (!(cause instanceof ReaderLost)) return cause;
    this.#options.logger.warn({ err: cause }, 'a process that reads images was lost');
    if (!cause.isLate)
      return unavailable('the process that read the image has ended; send it again', {
        retryAfterMs: RETRY_MS,
        cause,
      });
    return failedPrecondition(
      `the image was not read within ${this.#options.timeoutMs} ms, and the content policy lets none pass unread; send it smaller`,
      { reason: 'IMAGE_UNREAD', cause },
    );
  }

  /** A process that is free, once there is one. */
  #process(signal: AbortSignal): ReaderProcess | Promise<ReaderProcess> {
    signal.throwIfAborted();
    if (this.#closed) throw unavailable('the gateway is ending');
    const free = this.#free();
    if (free) return free;
    const { mostWaiting } = this.#options;
    if (this.#queue.length >= mostWaiting) {
      throw resourceExhausted(`${mostWaiting} images wait to be read already; send this one again later`, {
        reason: 'IMAGE_QUEUE_FULL',
        retryAfterMs: RETRY_MS,
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<ReaderProcess>();
    const leave = () => {
      const at = this.#queue.indexOf(waiting);
      if (at >= 0) this.#queue.splice(at, 1);
      reject(signal.reason);
    };
    const waiting: Waiting = { begin: resolve, leave: reject };
    this.#queue.push(waiting);
    signal.addEventListener('abort', leave, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', leave));
  }

  #free(): ReaderProcess | undefined {
    const { processes, threads } = this.#options;
    const alive = this.#idle.splice(0).filter(({ isLost }) => !isLost);
    const free = alive.pop() ?? (this.#running.size < processes ? new ReaderProcess(threads) : undefined);
    this.#idle.push(...alive);
    if (free) this.#running.add(free);
    return free;
  }

  /** Hands a process on, or a new one in the place of one that was lost. */
  #next(process: ReaderProcess): void {
    this.#running.delete(process);
    if (this.#closed) return;
    const waiting = this.#queue.shift();
    if (!waiting) {
      if (!process.isLost) this.#idle.push(process);
      return;
    }
    const next = process.isLost ? new ReaderProcess(this.#options.threads) : process;
    this.#running.add(next);
    waiting.begin(next);
  }
}
