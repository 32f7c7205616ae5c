import { create } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { OutputContract } from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import type { Invocation } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import {
  type SamplingOptions,
  SamplingOptionsSchema,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { PromptContext } from '../context.ts';
import { answerByOneOf, type Journey, type Route } from './fall-back.ts';
import { ballotUnder, keepContract } from './kept-contract.ts';
import { constraintOf } from './output-contract.ts';
import { vote } from './samples.ts';

/** How an answer is got. */
export interface Asking {
  route: Route;
  sampling: SamplingOptions;
  /** 1 streams; more vote. */
  samples: number;
  /** What the answer must look like; absent for anything. */
  contract: OutputContract | undefined;
  /** As in Question. */
  priority?: number;
}

/** New text, and whether what came before it is void. */
export interface Piece {
  delta: string;
  reset: boolean;
}

/** Equal samples vote for nothing: where nobody has said how warm, they are taken at this temperature. */
const SAMPLES_TEMPERATURE = 0.7;

/**
 * Gets an answer to the entry's rendered turns, piece by piece, and writes into the entry what comes: output, model,
 * deployment, usage, failed attempts, votes, value. Under a contract nothing is shown before it is kept.
 * @throws LandfallError what the last deployment says; ABORTED where the contract is broken twice; the entry holds what had
 *   come
 */
export async function* converse(
  context: Pick<PromptContext, 'replicas'>,
  asking: Asking,
  entry: Invocation,
  call: CallContext,
): AsyncGenerator<Piece> {
  const { contract, route, samples } = asking;
  if (!contract && samples === 1) {
    yield* stream(context, asking, entry, call);
    return;
  }
  // Nothing is shown before its end, so a deployment that fails in the middle is replaced as one that never began.
  const whole = { ...asking, route: { ...route, afterFirstToken: true } };
  if (samples > 1) await ballots(context, whole, entry, call);
  else for await (const _piece of stream(context, whole, entry, call));
  if (contract) await keepContract(context, contract, asking, entry, call);
  yield { delta: entry.output, reset: false };
}

async function* stream(
  context: Pick<PromptContext, 'replicas'>,
  { route, sampling, contract, priority = 0 }: Asking,
  entry: Invocation,
  call: CallContext,
): AsyncGenerator<Piece> {
  const journey = journeyOf(entry);
  const constraint = contract && constraintOf(contract);
  const question = { messages: entry.rendered, sampling, constraint, priority };
  let reset = false;
  try {
    for await (const next of answerByOneOf(context, route, question, call, journey)) {
      if (next.reset) {
        entry.output = '';
        reset = true;
        continue;
      }
      const { delta } = next.part;
      entry.output += delta;
      takeNotes(entry, next.part);
      if (!delta) continue;
      yield { delta, reset };
      reset = false;
    }
  } finally {
    entry.deployment = journey.deployment || entry.deployment;
  }
}

async function ballots(
  context: Pick<PromptContext, 'replicas'>,
  { route, sampling, samples, contract, priority = 0 }: Asking,
  entry: Invocation,
  call: CallContext,
): Promise<void> {
  const journey = journeyOf(entry);
  const many = create(SamplingOptionsSchema, {
    ...sampling,
    temperature: sampling.temperature ?? SAMPLES_TEMPERATURE,
    n: samples,
  });
  entry.sampling = many;
  let texts: string[] = new Array(samples).fill('');
  try {
    const constraint = contract && constraintOf(contract);
    const question = { messages: entry.rendered, sampling: many, constraint, priority };
    for await (const next of answerByOneOf(context, route, question, call, journey)) {
      if (next.reset) {
        texts = new Array(samples).fill('');
        continue;
      }
      const { delta, index } = next.part;
      if (index < samples) texts[index] += delta;
      takeNotes(entry, next.part);
    }
  } finally {
    entry.deployment = journey.deployment || entry.deployment;
  }
  const { output, votes } = vote(texts, contract && ballotUnder(contract));
  // Where every sample breaks the contract the first is repaired.
  entry.output = votes.length > 0 ? output : texts[0]!;
  entry.votes = votes;
}

/** A journey whose failures are the entry's. */
const journeyOf = (entry: Invocation): Journey => ({ deployment: '', failed: entry.failedAttempts });

/** What a part tells besides its text. */
function takeNotes(entry: Invocation, { model, usage, finishReason }: GenerateResponse): void {
  if (model) entry.model = model;
  if (usage) entry.usage = usage;
  if (finishReason) entry.finishReason = finishReason;
}
