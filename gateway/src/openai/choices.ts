import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { Choice } from './format.ts';
import type { OpenAiRequest } from './request.ts';

/** The n answers to one request so far, by index. */
export class Choices {
  readonly #choices = new Map<number, Choice>();
  readonly #logprobs: boolean;

  constructor({ generate }: OpenAiRequest) {
    this.#logprobs = generate.sampling?.topLogprobs !== undefined;
  }

  has(index: number): boolean {
    return this.#choices.has(index);
  }

  /** In order of their indexes. */
  get all(): Choice[] {
    return [...this.#choices.values()].sort((a, b) => a.index - b.index);
  }

  /** Takes a part in and returns what is new, for a stream. */
  add({ index, delta, logprobs, finishReason }: GenerateResponse): Choice {
    const whole = this.#whole(index);
    const offset = whole.text.length;
    whole.text += delta;
    whole.logprobs?.push(...logprobs);
    whole.reason = finishReason || whole.reason;
    const shown = this.#logprobs && logprobs.length > 0 ? logprobs : undefined;
    return { index, text: delta, logprobs: shown, reason: FinishReason.UNSPECIFIED, offset };
  }

  /** What a stream says at an answer's end: why, and no more text. */
  end({ index, finishReason }: GenerateResponse): Choice {
    const offset = this.#whole(index).text.length;
    return { index, text: '', logprobs: undefined, reason: finishReason, offset };
  }

  #whole(index: number): Choice {
    const known = this.#choices.get(index);
    if (known) return known;
    const logprobs = this.#logprobs ? [] : undefined;
    const made: Choice = { index, text: '', logprobs, reason: FinishReason.UNSPECIFIED, offset: 0 };
    this.#choices.set(index, made);
    return made;
  }
}
