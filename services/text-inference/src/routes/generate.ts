import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { Admission } from '../admission.ts';
import type { TextContext } from '../context.ts';
import { toLandfallError } from '../errors.ts';
import { type GenerateReply, runGeneration } from '../generation.ts';
import { GenerationTelemetry, type Outcome } from '../generation-telemetry.ts';

export function generate(context: TextContext) {
  return async function* (request: GenerateRequest, call: CallContext): AsyncGenerator<GenerateReply> {
    const model = context.model(call.identity);
    const leave = enter(context.admission, request.sampling?.n ?? 1);
    const telemetry = new GenerationTelemetry(request, call.trace);
    // What stands when the caller leaves in the middle.
    let outcome: Outcome = { finishReason: 'cancelled' };
    try {
      outcome = yield* runGeneration(request, model, telemetry, call);
    } catch (error) {
      if (!call.signal.aborted) outcome = { error };
      throw toLandfallError(error);
    } finally {
      telemetry.end(outcome);
      leave();
    }
  };
}

/** Takes a place for each answer, or none. @throws LandfallError RESOURCE_EXHAUSTED with RetryInfo. */
export function enter(admission: Admission, answers: number): () => void {
  const leave: (() => void)[] = [];
  try {
    while (leave.length < answers) leave.push(admission.enter());
  } catch (error) {
    for (const one of leave) one();
    throw error;
  }
  return () => {
    for (const one of leave) one();
  };
}
