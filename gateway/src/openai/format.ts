import type { FinishReason, TokenLogprob, Usage } from '@landfall/proto/landfall/text/v1/generation_pb.js';

/** Fields that all parts of one answer share. */
export interface AnswerHead {
  /** `chatcmpl-...` or `cmpl-...` */
  id: string;
  /** Seconds since 1970. */
  created: number;
  /** The model as it was asked for. */
  model: string;
  /** On the parts of a stream that ends with token counts, as OpenAI sends them. */
  usage?: null;
}

/** One of the n answers, whole or in part. */
export interface Choice {
  index: number;
  text: string;
  /** Undefined where they were not asked for. */
  logprobs: TokenLogprob[] | undefined;
  reason: FinishReason;
  /** Characters of this answer before `text`. */
  offset: number;
}

/** The objects that a route answers with. */
export interface AnswerFormat {
  /** Prefix of the answers' ids. */
  id: string;
  whole(head: AnswerHead, choices: readonly Choice[], usage: Usage): object;
  /** What a stream says of an answer before its first text, where it says anything. */
  opening(head: AnswerHead, index: number): object | undefined;
  part(head: AnswerHead, choice: Choice): object;
  end(head: AnswerHead, choice: Choice): object;
  /** Token counts at the end of a stream that was asked for them. */
  usage(head: AnswerHead, usage: Usage): object;
}
