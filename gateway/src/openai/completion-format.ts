import type { TokenLogprob } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { AnswerFormat, AnswerHead, Choice } from './format.ts';
import { finishReason, usageBody } from './token-counts.ts';

/** The older form of log-probabilities: lists side by side, and where each token begins in the text. */
function logprobsBody(logprobs: readonly TokenLogprob[] | undefined, offset: number) {
  if (!logprobs) return null;
  let at = offset;
  const textOffset = logprobs.map(({ token }) => {
    const start = at;
    at += token.length;
    return start;
  });
  return {
    tokens: logprobs.map(({ token }) => token),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map(({ top }) => Object.fromEntries(top.map((t) => [t.token, t.logprob]))),
    text_offset: textOffset,
  };
}

const choiceBody = ({ index, text, logprobs, reason, offset }: Choice) => ({
  index,
  text,
  logprobs: logprobsBody(logprobs, offset),
  finish_reason: finishReason(reason),
});

function body(head: AnswerHead, choices: readonly Choice[]) {
  return { ...head, object: 'text_completion', choices: choices.map(choiceBody) };
}

/** `text_completion`, the same object whole and streamed. */
export const completionFormat: AnswerFormat = {
  id: 'cmpl',
  whole: (head, choices, usage) => ({ ...body(head, choices), usage: usageBody(usage) }),
  opening: () => undefined,
  part: (head, choice) => body(head, [choice]),
  end: (head, choice) => body(head, [choice]),
  usage: (head, usage) => ({ ...body(head, []), usage: usageBody(usage) }),
};
