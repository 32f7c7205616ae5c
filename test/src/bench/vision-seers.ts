import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import type { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { Ask, Told } from './vision-transformers.ts';

/** All of them are asked at once, and each waits for those before it. */
const SCORE_MS = 600_000;

/** What answers a question about each of some images. */
export interface Seer {
  see(images: readonly Buffer[], question: string): Promise<string[]>;
}

/** A replica of text-inference over gRPC. */
export class ReplicaSeer implements Seer {
  readonly #client: RpcClient<typeof TextInferenceService>;
  readonly #output: number;

  /** @param output tokens of an answer */
  constructor(client: RpcClient<typeof TextInferenceService>, output: number) {
    this.#client = client;
    this.#output = output;
  }

  see(images: readonly Buffer[], question: string): Promise<string[]> {
    return Promise.all(
      images.map(async (image) => {
        let text = '';
        for await (const { delta } of this.#ask(image, question)) text += delta;
        return text;
      }),
    );
  }

  async firstTokenMs(image: Buffer, question: string): Promise<number> {
    const start = performance.now();
    let ms = 0;
    for await (const _ of this.#ask(image, question)) ms ||= performance.now() - start;
    return ms;
  }

  async score(image: Buffer, question: string, completion: string) {
    const messages = [{ role: 'user', content: question, images: [image] }];
    return this.#client.score({ messages, completion }, { timeoutMs: SCORE_MS });
  }

  #ask(image: Buffer, question: string) {
    const messages = [{ role: 'user', content: question, images: [image] }];
    return this.#client.generate({ messages, sampling: { maxTokens: this.#output, ignoreEos: true } });
  }
}

/** transformers.js on an exported folder, in a process of its own; what it is given at once is one batch. */
export class TransformersSeer implements Seer, AsyncDisposable {
  readonly #child: ChildProcess;
  #last: Promise<unknown> = Promise.resolve();

  static async start(folder: string, threads: number, output: number): Promise<TransformersSeer> {
    const child = fork(
      join(import.meta.dirname, 'vision-transformers.ts'),
      [folder, `${threads}`, `${output}`],
      {
        serialization: 'advanced',
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      },
    );
    const gone = once(child, 'exit').then(([code]) => {
      throw new Error(`transformers.js ended with ${code}`);
    });
    await Promise.race([once(child, 'message'), gone]);
    gone.catch(() => {});
    return new TransformersSeer(child);
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  see(images: readonly Buffer[], question: string): Promise<string[]> {
    // One after the other, as a process of it works.
    const answer = this.#last.then(async () => {
      this.#child.send({ images: [...images], question } satisfies Ask);
      const [told] = (await once(this.#child, 'message')) as [Told];
      return told.texts;
    });
    this.#last = answer.catch(() => {});
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = once(this.#child, 'exit');
    this.#child.disconnect();
    await gone;
  }
}
