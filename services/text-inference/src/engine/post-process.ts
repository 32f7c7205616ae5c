/** From a sequence's new token to what its client sees: text, log-probabilities, and whether it has ended. */

import { type Decode, Detokenizer } from './detokenizer.ts';
import type { Sampled } from './sampler.ts';
import type { EngineRequest, FinishReason, TokenReport } from './sequence.ts';
import { StopStrings } from './stop-strings.ts';

export interface Piece {
  text: string;
  /** Given when the sequence has ended with this token. */
  finish?: FinishReason;
  /** The stop string that was met. */
  stop?: string;
}

/** What of a request its text depends on. */
export type TextRequest = Pick<EngineRequest, 'prompt' | 'stop' | 'maxTokens' | 'ignoreEos'>;

/** The prompt's last tokens that a decoder needs to know whether a word begins. */
const CONTEXT_TOKENS = 4;

export class PostProcessor {
  readonly #request: TextRequest;
  readonly #eos: ReadonlySet<number>;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopStrings;

  constructor(request: TextRequest, decode: Decode, eos: ReadonlySet<number>) {
    this.#request = request;
    this.#eos = eos;
    this.#detokenizer = new Detokenizer(decode, request.prompt.slice(-CONTEXT_TOKENS));
    this.#stops = new StopStrings(request.stop);
  }

  /** Takes the `count`th new token (1 for the first). */
  next(token: number, count: number): Piece {
    if (this.#eos.has(token) && !this.#request.ignoreEos) return this.#end('stop');
    const { text, stop } = this.#stops.push(this.#detokenizer.push(token));
    if (stop !== undefined) return { text, finish: 'stop', stop };
    if (count < this.#request.maxTokens) return { text };
    const end = this.#end('length');
    return { ...end, text: text + end.text };
  }

  /** Everything held back comes out, unless a stop string turns up in it. */
  #end(finish: FinishReason): Piece {
    const { text, stop } = this.#stops.push(this.#detokenizer.flush());
    if (stop !== undefined) return { text, finish: 'stop', stop };
    return { text: text + this.#stops.flush(), finish };
  }
}

/** What the API reports of a sampled token; undefined when the request did not ask. */
export function tokenReport(sampled: Sampled): TokenReport | undefined {
  if (sampled.logprob === undefined) return undefined;
  return { token: sampled.token, logprob: sampled.logprob, top: sampled.top ?? [] };
}
