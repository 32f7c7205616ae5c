import { create } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  type ChatMessage,
  FinishReason,
  type OutputConstraint,
  type SamplingOptions,
  SamplingOptionsSchema,
  type Usage,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { PromptContext } from '../context.ts';

/** A question to a deployed model. */
export interface Question {
  deployment: string;
  /** The rendered turns. */
  messages: readonly ChatMessage[];
  sampling?: SamplingOptions | undefined;
  /** What decoding is held to; none when absent. */
  constraint?: OutputConstraint | undefined;
  /** See GenerateRequest; 0 when absent. */
  priority?: number;
}

/** What a model has said, whole or up to where it was interrupted. */
export interface Answer {
  output: string;
  /** `models:/name/version` that answered. */
  model: string;
  usage?: Usage | undefined;
  finishReason: FinishReason;
}

export const emptyAnswer = (): Answer => ({
  output: '',
  model: '',
  finishReason: FinishReason.UNSPECIFIED,
});

/**
 * Asks a deployment, part by part. Identity, deadline, trace and cancel are the call's; leaving the loop stops the work.
 * @throws LandfallError what the balancer or the replica says
 */
export async function* answerParts(
  { replicas }: Pick<PromptContext, 'replicas'>,
  { deployment, messages, sampling, constraint, priority }: Question,
  call: CallContext,
): AsyncGenerator<GenerateResponse> {
  yield* replicas.generate(
    { deployment },
    {
      messages: [...messages],
      ...(sampling ? { sampling } : {}),
      ...(constraint ? { constraint } : {}),
      ...(priority ? { priority } : {}),
    },
    { context: call },
  );
}

/** Asks a deployment and waits for its whole answer. @throws as `answerParts` */
export async function answer(
  context: Pick<PromptContext, 'replicas'>,
  question: Question,
  call: CallContext,
): Promise<Answer> {
  const whole = emptyAnswer();
  for await (const part of answerParts(context, question, call)) addPart(whole, part);
  return whole;
}

/** Takes a part into the whole. */
export function addPart(whole: Answer, { delta, model, usage, finishReason }: GenerateResponse): void {
  whole.output += delta;
  if (model) whole.model = model;
  if (usage) whole.usage = usage;
  if (finishReason) whole.finishReason = finishReason;
}

/** A version's sampling with what a call sets in place of it, field by field. */
export function mergeSampling(
  base: SamplingOptions | undefined,
  own: SamplingOptions | undefined,
): SamplingOptions {
  const merged = create(SamplingOptionsSchema, base);
  for (const [key, value] of Object.entries(own ?? {})) {
    const empty = value === undefined || (Array.isArray(value) && value.length === 0) || value === false;
    if (!key.startsWith('$') && !empty) Object.assign(merged, { [key]: value });
  }
  return merged;
}
