import { create } from '@bufbuild/protobuf';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { type Invocation, InvocationSchema } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { SamplingOptions } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { PromptContext } from '../context.ts';
import { type Asking, converse } from '../domain/conversation.ts';
import type { Contents } from '../domain/load-parts.ts';
import { mergeSampling } from '../domain/merge-sampling.ts';
import { render } from '../domain/render.ts';
import { patiently } from '../jobs/patience.ts';
import { BACKGROUND_PRIORITY, PATIENCE_MS } from './measure-row.ts';

/** Who answers a row, and how. */
export interface TestAsking {
  deployment: string;
  /** In place of the draft's sampling, field by field. */
  sampling?: SamplingOptions | undefined;
}

/**
 * Has a deployment answer a row as it would answer an invocation: with its samples and their vote, held to its output
 * contract, repaired once. What is still not kept then is the answer all the same, for the metrics to judge. Nothing is
 * logged; it gives way to live calls, and a deployment that is away is waited for.
 * @returns the answer as the log would hold it
 * @throws LandfallError
 */
export async function answerTest(
  context: PromptContext,
  { draft, parts }: Contents,
  test: TestSetRow,
  { deployment, sampling }: TestAsking,
  call: CallContext,
): Promise<Invocation> {
  const rendered = render(draft, test.variables ?? {}, context.config.maxRenderedLength, parts);
  const asking: Asking = {
    route: { deployments: [deployment], afterFirstToken: true },
    sampling: mergeSampling(draft.sampling, sampling),
    samples: draft.selfConsistency?.samples ?? 1,
    contract: draft.outputContract,
    priority: BACKGROUND_PRIORITY,
  };
  const ask = async () => {
    const entry = create(InvocationSchema, { deployment, rendered });
    try {
      for await (const _piece of converse(context, asking, entry, call));
    } catch (error) {
      if (!(error instanceof LandfallError) || error.reason !== 'CONTRACT_BROKEN') throw error;
    }
    return entry;
  };
  return patiently(ask, { patienceMs: PATIENCE_MS, signal: call.signal });
}
