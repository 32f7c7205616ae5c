/** The service's side of the thread that turns chats and texts into tokens. */

import type { Worker } from 'node:worker_threads';
import { PendingCalls } from './calls.ts';
import type { Constraint } from './grammar/constraint.ts';
import type { GrammarSpec } from './grammar/grammar-state.ts';
import {
  type Encoded,
  type ImageGrid,
  type ImageText,
  PromptError,
  type PromptInput,
  type TextSpan,
} from './prompt.ts';
import { startWorker } from './worker-start.ts';

export interface PromptThreadOptions {
  /** Local model folder with the tokenizer. */
  folder: string;
  /** Tokens a sequence may have in all. */
  contextLength: number;
  /** How images stand among the tokens, where the model reads any. */
  images?: ImageGrid | ImageText | undefined;
}

/** With the tokens of each span of the completion that was asked for, as indices. */
export interface EncodedParts extends Encoded {
  parts?: number[][];
}

export type ToPrompt =
  | {
      type: 'encode';
      call: number;
      input: PromptInput;
      completion?: string | undefined;
      spans?: TextSpan[];
      seen?: string[] | undefined;
    }
  | { type: 'compile'; call: number; field: string; constraint: Constraint }
  | { type: 'close' };

export type FromPrompt =
  | { type: 'ready' }
  | { type: 'failed'; message: string }
  | { type: 'tokens'; call: number; encoded: EncodedParts }
  | { type: 'grammar'; call: number; grammar: GrammarSpec }
  | { type: 'refused'; call: number; field: string | undefined; message: string };

export class PromptThread {
  readonly #worker: Worker;
  readonly #calls = new PendingCalls<EncodedParts | GrammarSpec>();
  readonly #exit: Promise<void>;

  static async start(options: PromptThreadOptions): Promise<PromptThread> {
    const module = new URL('./prompt-worker.ts', import.meta.url);
    const [worker, first] = await startWorker<FromPrompt>(module, options);
    if (first.type !== 'ready')
      throw new Error(first.type === 'failed' ? first.message : 'unexpected message');
    return new PromptThread(worker);
  }

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (message: FromPrompt) => {
      if (message.type === 'tokens') this.#calls.resolve(message.call, message.encoded);
      if (message.type === 'grammar') this.#calls.resolve(message.call, message.grammar);
      if (message.type !== 'refused') return;
      const { field } = message;
      this.#calls.reject(
        message.call,
        field === undefined ? new Error(message.message) : new PromptError(field, message.message),
      );
    });
    let cause = new Error('the tokenizer thread has ended');
    worker.on('error', (error) => {
      cause = error instanceof Error ? error : new Error(String(error));
    });
    this.#exit = new Promise((resolve) => {
      worker.on('exit', () => {
        this.#calls.rejectAll(cause);
        resolve();
      });
    });
  }

  /**
   * Tokens of a chat or text and of a completion where one is given: at least one, together no more than the context,
   * and the prompt alone fewer.
   * @param seen what stands in the place of each image, where that differs from image to image
   * @throws PromptError naming the field.
   */
  encode(input: PromptInput, completion?: string, seen?: string[]): Promise<Encoded> {
    return this.#call<EncodedParts>((call) => ({ type: 'encode', call, input, completion, seen }));
  }

  /** The same, with the tokens of some spans of the completion. @throws PromptError naming the field. */
  async encodeParts(
    input: PromptInput,
    completion: string,
    spans: TextSpan[],
  ): Promise<Encoded & { parts: number[][] }> {
    const encoded = await this.#call<EncodedParts>((call) => ({
      type: 'encode',
      call,
      input,
      completion,
      spans,
    }));
    return { ...encoded, parts: encoded.parts! };
  }

  /**
   * The language of a constraint, for the engine. It is compiled here, beside the tokenizer: a large one delays other
   * prompts for some tens of milliseconds and no step of the model.
   * @throws PromptError naming the field that it came in.
   */
  compile(field: string, constraint: Constraint): Promise<GrammarSpec> {
    return this.#call<GrammarSpec>((call) => ({ type: 'compile', call, field, constraint }));
  }

  /** Ends the thread after what it has been given. */
  async close(): Promise<void> {
    this.#worker.postMessage({ type: 'close' } satisfies ToPrompt);
    await this.#exit;
  }

  #call<Answer extends EncodedParts | GrammarSpec>(message: (call: number) => ToPrompt): Promise<Answer> {
    return this.#calls.call((call) => this.#worker.postMessage(message(call))) as Promise<Answer>;
  }
}
