import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { PromptContext } from '../context.ts';
import type { Question } from './fall-back.ts';

/**
 * Asks a deployment, held to the question's constraint where its backend can: one that has no such grammar is asked
 * without. Whoever needs the form checks the answer in any case.
 */
export async function* constrained(
  { replicas }: Pick<PromptContext, 'replicas'>,
  deployment: string,
  { constraint, ...free }: Question,
  call: CallContext,
): AsyncGenerator<GenerateResponse> {
  const ask = (question: typeof free & { constraint?: NonNullable<typeof constraint> }) =>
    replicas.generate({ deployment }, question, { context: call });
  if (constraint) {
    let begun = false;
    try {
      for await (const part of ask({ ...free, constraint })) {
        begun ||= part.delta !== '';
        yield part;
      }
      return;
    } catch (cause) {
      if (begun || !refusesConstraint(cause)) throw cause;
    }
  }
  yield* ask(free);
}

function refusesConstraint(cause: unknown): boolean {
  if (!(cause instanceof LandfallError)) return false;
  const named = cause.fieldViolations.some(({ field }) => field.split('.')[0] === 'constraint');
  return named && (cause.code === status.INVALID_ARGUMENT || cause.code === status.UNIMPLEMENTED);
}
