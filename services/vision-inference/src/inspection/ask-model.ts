import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { targetOf } from '@landfall/common/balancing/target.ts';
import { aborted } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { FinishReason, type TokenLogprob } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { Question } from './question.ts';

/** A whole answer. */
export interface ModelAnswer {
  text: string;
  logprobs: TokenLogprob[];
  /** `models:/name/version` that answered. */
  model: string;
  firstTokenMs: number;
}

/** So many alternatives to each token: enough for those among which a decision falls. */
const TOP = 20;

/** The one turn in which an image is asked about. */
export const turnOf = ({ prompt }: Pick<Question, 'prompt'>, image: Uint8Array) => ({
  ...{ role: 'user', content: prompt, images: [image] },
});

/**
 * Asks a deployment about an image, held to the schema, greedily.
 * @throws LandfallError what the replica says, or ABORTED for an answer that does not end
 */
export async function askModel(
  replicas: BalancedClient,
  deployment: string,
  question: Question,
  image: Uint8Array,
  call: CallContext,
): Promise<ModelAnswer> {
  const request = {
    messages: [turnOf(question, image)],
    sampling: { temperature: 0, maxTokens: question.maxTokens, topLogprobs: TOP },
    constraint: { kind: { case: 'jsonSchema' as const, value: question.schema } },
  };
  const answer: ModelAnswer = { text: '', logprobs: [], model: '', firstTokenMs: 0 };
  let reason: FinishReason = FinishReason.UNSPECIFIED;
  for await (const part of replicas.generate(targetOf(deployment), request, { context: call })) {
    answer.text += part.delta;
    answer.logprobs.push(...part.logprobs);
    answer.model = part.model || answer.model;
    answer.firstTokenMs = part.usage?.timeToFirstTokenMs ?? answer.firstTokenMs;
    reason = part.finishReason || reason;
  }
  if (reason === FinishReason.LENGTH) {
    throw aborted(`the model's answer has not ended within ${question.maxTokens} tokens and its context`, {
      reason: 'ANSWER_INVALID',
    });
  }
  return answer;
}
