import type { MessageInitShape } from '@bufbuild/protobuf';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import { FinishReason, type TokenLogprobSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { Part } from './backend.ts';
import { garbled, refused, ServerFailure } from './openai-errors.ts';
import { chatLogprobs, textLogprobs } from './openai-logprobs.ts';

type Json = Record<string, unknown>;
type Logprob = MessageInitShape<typeof TokenLogprobSchema>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const count = (value: unknown): number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 31 ? value : 0;

/** Puts together one answer, of chat or text, from the chunks that a server streams. */
export class OpenAiAnswer {
  readonly #answers: number;
  readonly #ended = new Set<number>();
  #usage: Json | undefined;
  #parts = 0;
  /** The answer that ends last waits for the counts, which come behind it. */
  #last: Part | undefined;

  /** @param answers how many were asked for */
  constructor(answers: number) {
    this.#answers = answers;
  }

  /** Tokens as counted by the server, or the parts that came where it counts none. */
  get outputTokens(): number {
    return count(this.#usage?.completion_tokens) || this.#parts;
  }

  get inputTokens(): number {
    return count(this.#usage?.prompt_tokens);
  }

  /** What one event says. @throws ServerFailure for an error in the stream and for what makes no sense */
  take(data: string): Part[] {
    const chunk = parsed(data);
    if (isObject(chunk.error)) throw refused(500, chunk.error, undefined);
    if (isObject(chunk.usage)) this.#usage = chunk.usage;
    if (!Array.isArray(chunk.choices)) throw garbled('a chunk without choices');
    return chunk.choices.flatMap((choice) => this.#choice(choice));
  }

  /** The last reply, once the server has said that nothing follows. @throws ServerFailure where answers are missing */
  end(): Part {
    if (!this.#last || this.#ended.size !== this.#answers) throw garbled('an answer without its end');
    const details = this.#usage?.prompt_tokens_details;
    return {
      ...this.#last,
      usage: {
        inputTokens: this.inputTokens,
        outputTokens: this.outputTokens,
        cachedTokens: isObject(details) ? count(details.cached_tokens) : 0,
      },
    };
  }

  #choice(choice: unknown): Part[] {
    if (!isObject(choice)) throw garbled('a choice of no known form');
    const index = choice.index ?? 0;
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= this.#answers)
      throw garbled('an answer that was not asked for');
    if (this.#ended.has(index)) return [];
    const delta = isObject(choice.delta) ? (choice.delta.content ?? '') : (choice.text ?? '');
    if (typeof delta !== 'string') throw garbled('text of no known form');
    const logprobs: Logprob[] = isObject(choice.delta)
      ? chatLogprobs(choice.logprobs)
      : textLogprobs(choice.logprobs);
    if (delta !== '' || logprobs.length > 0) this.#parts += Math.max(1, logprobs.length);
    const reply: Part = { index, delta, logprobs };
    const finishReason = finishOf(choice.finish_reason);
    if (!finishReason) return delta !== '' || logprobs.length > 0 ? [reply] : [];
    this.#ended.add(index);
    if (this.#ended.size < this.#answers) return [{ ...reply, finishReason }];
    this.#last = { index, finishReason };
    return delta !== '' || logprobs.length > 0 ? [reply] : [];
  }
}

function parsed(data: string): Json {
  let chunk: unknown;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw garbled('an event that is no JSON');
  }
  if (!isObject(chunk)) throw garbled('an event of no known form');
  return chunk;
}

function finishOf(reason: unknown): FinishReason | undefined {
  if (reason === undefined || reason === null || reason === '') return undefined;
  if (reason === 'length') return FinishReason.LENGTH;
  if (reason === 'content_filter') {
    const told = failedPrecondition('the server behind this replica has withheld its answer', {
      reason: 'CONTENT_FILTERED',
    });
    throw new ServerFailure(told, false);
  }
  // `stop`, and `eos_token` and `stop_sequence` as TGI says.
  return FinishReason.STOP;
}
