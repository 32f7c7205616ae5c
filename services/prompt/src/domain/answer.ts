import { create } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  type ChatMessage,
  type SamplingOptions,
  SamplingOptionsSchema,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { PromptContext } from '../context.ts';

/** A question to a deployed model. */
export interface Question {
  deployment: string;
  /** The rendered turns. */
  messages: readonly ChatMessage[];
  sampling?: SamplingOptions | undefined;
}

/**
 * Asks a deployment, part by part. Identity, deadline, trace and cancel are the call's; leaving the loop stops the work.
 * @throws LandfallError what the balancer or the replica says
 */
export async function* answerParts(
  { replicas }: Pick<PromptContext, 'replicas'>,
  { deployment, messages, sampling }: Question,
  call: CallContext,
): AsyncGenerator<GenerateResponse> {
  yield* replicas.generate(
    { deployment },
    { messages: [...messages], ...(sampling ? { sampling } : {}) },
    { context: call },
  );
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
