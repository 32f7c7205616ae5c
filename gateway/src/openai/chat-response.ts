import {
  FinishReason,
  type TokenLogprob,
  type Usage,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';

/** Fields that all parts of one answer share. */
export interface AnswerHead {
  /** `chatcmpl-...` */
  id: string;
  /** Seconds since 1970. */
  created: number;
  /** Name of the deployment. */
  model: string;
}

export function finishReason(reason: FinishReason): 'stop' | 'length' | null {
  if (reason === FinishReason.STOP) return 'stop';
  if (reason === FinishReason.LENGTH) return 'length';
  return null;
}

function token({ token, bytes, logprob }: TokenLogprob) {
  return { token, bytes: [...bytes], logprob };
}

function logprobsBody(logprobs: readonly TokenLogprob[]) {
  return {
    content: logprobs.map((entry) => ({ ...token(entry), top_logprobs: entry.top.map(token) })),
    refusal: null,
  };
}

function usageBody(usage: Usage) {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.inputTokens + usage.outputTokens,
  };
}

/** A `chat.completion` object. */
export function completion(
  head: AnswerHead,
  content: string,
  reason: FinishReason,
  usage: Usage,
  logprobs: readonly TokenLogprob[] | undefined,
) {
  return {
    ...head,
    object: 'chat.completion',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content, refusal: null },
        logprobs: logprobs ? logprobsBody(logprobs) : null,
        finish_reason: finishReason(reason),
      },
    ],
    usage: usageBody(usage),
  };
}

/** A `chat.completion.chunk` object. */
export function chunk(
  head: AnswerHead,
  delta: { role?: 'assistant'; content?: string },
  reason: FinishReason,
  logprobs: readonly TokenLogprob[] = [],
) {
  return {
    ...head,
    object: 'chat.completion.chunk',
    choices: [
      {
        index: 0,
        delta,
        logprobs: logprobs.length > 0 ? logprobsBody(logprobs) : null,
        finish_reason: finishReason(reason),
      },
    ],
  };
}

/** The last chunk of a stream that was asked for with `stream_options.include_usage`. */
export function usageChunk(head: AnswerHead, usage: Usage) {
  return { ...head, object: 'chat.completion.chunk', choices: [], usage: usageBody(usage) };
}
