import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { Attempt } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { FinishReason, type Usage } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { PromptContext } from '../context.ts';
import { answerByOneOf, type Journey, type Question } from './fall-back.ts';

/** A whole answer. */
export interface Answer {
  text: string;
  /** `models:/name/version` that answered. */
  model: string;
  /** Deployment that answered. */
  deployment: string;
  finishReason: FinishReason;
  usage: Usage | undefined;
  /** Deployments that were asked in vain before, in order. */
  failed: Attempt[];
}

/**
 * Asks the deployments in order for one whole answer, for those who have nobody to stream it to: evaluations, judges,
 * optimisation, repairs. A deployment that fails in the middle is replaced as one that never began.
 * @throws LandfallError the last deployment's failure, or the first that is not a deployment's
 */
export async function answer(
  context: Pick<PromptContext, 'replicas'>,
  deployments: readonly string[],
  question: Question,
  call: CallContext,
): Promise<Answer> {
  const journey: Journey = { deployment: '', failed: [] };
  let [text, model] = ['', ''];
  let finishReason: FinishReason = FinishReason.UNSPECIFIED;
  let usage: Usage | undefined;
  const route = { deployments, afterFirstToken: true };
  for await (const next of answerByOneOf(context, route, question, call, journey)) {
    if (next.reset) {
      text = '';
      continue;
    }
    const { part } = next;
    // Of several samples only the first: who wants a vote asks for one.
    if (part.index === 0) text += part.delta;
    model = part.model || model;
    finishReason = part.finishReason || finishReason;
    usage = part.usage ?? usage;
  }
  const { deployment, failed } = journey;
  return { text, model, deployment, finishReason, usage, failed };
}
