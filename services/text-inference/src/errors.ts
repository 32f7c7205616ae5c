import {
  failedPrecondition,
  invalidArgument,
  type LandfallError,
  notFound,
  resourceExhausted,
  unavailable,
} from '@landfall/common/errors/errors.ts';
import { PromptError } from './engine/prompt.ts';
import { RefusedError } from './engine/protocol.ts';
import { InvalidRefError } from './model/ref.ts';

/** The named errors of the engine and the model folder as what a caller is told; others pass as they are. */
export function toLandfallError(error: unknown): unknown {
  if (error instanceof PromptError) return invalidArgument(error.field, error.message);
  if (error instanceof InvalidRefError) return invalidArgument('model', error.message);
  if (error instanceof RefusedError) {
    if (error.refusal === 'adapter-unusable')
      return failedPrecondition(error.message, { reason: 'ADAPTER_UNUSABLE' });
    if (error.refusal === 'adapter-table-full') {
      return resourceExhausted(error.message, { reason: 'ADAPTER_SLOTS_FULL', retryAfterMs: 1000 });
    }
    if (error.refusal === 'request') return invalidArgument('prompt', error.message);
    if (error.refusal === 'adapter-missing') return unavailable(error.message, { retryAfterMs: 100 });
  }
  return error;
}

export function unknownModel(ref: string): LandfallError {
  return notFound(`${ref} is neither the base of this replica nor one of its adapters`, {
    reason: 'MODEL_NOT_FOUND',
  });
}
