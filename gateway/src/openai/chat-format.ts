import type { TokenLogprob } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { AnswerFormat, AnswerHead, Choice } from './format.ts';
import { finishReason, usageBody } from './token-counts.ts';

function token({ token, bytes, logprob }: TokenLogprob) {
  return { token, bytes: [...bytes], logprob };
}

function logprobsBody(logprobs: readonly TokenLogprob[] | undefined) {
  if (!logprobs) return null;
  return {
    content: logprobs.map((entry) => ({ ...token(entry), top_logprobs: entry.top.map(token) })),
    refusal: null,
  };
}

function chunk(head: AnswerHead, index: number, delta: object, rest: object = {}) {
  return {
    ...head,
    object: 'chat.completion.chunk',
    choices: [{ index, delta, logprobs: null, finish_reason: null, ...rest }],
  };
}

const choiceBody = ({ index, text, logprobs, reason }: Choice) => ({
  index,
  message: { role: 'assistant', content: text, refusal: null },
  logprobs: logprobsBody(logprobs),
  finish_reason: finishReason(reason),
});

/** `chat.completion` and `chat.completion.chunk`. */
export const chatFormat: AnswerFormat = {
  id: 'chatcmpl',
  whole: (head, choices, usage) => ({
    ...head,
    object: 'chat.completion',
    choices: choices.map(choiceBody),
    usage: usageBody(usage),
  }),
  opening: (head, index) => chunk(head, index, { role: 'assistant', content: '' }),
  part: (head, { index, text, logprobs }) =>
    chunk(head, index, { content: text }, { logprobs: logprobsBody(logprobs) }),
  end: (head, { index, reason }) => chunk(head, index, {}, { finish_reason: finishReason(reason) }),
  usage: (head, usage) => ({
    ...head,
    object: 'chat.completion.chunk',
    choices: [],
    usage: usageBody(usage),
  }),
};
