/** From a request of the contract to those of the engine. */

import { randomBytes, randomUUID } from 'node:crypto';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { OutputConstraint, SamplingOptions } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { Constraint } from './engine/grammar/constraint.ts';
import type { GrammarSpec } from './engine/grammar/grammar-state.ts';
import { seedOf } from './engine/random.ts';
import type { ModelShape } from './engine/runner.ts';
import type { SamplingParameters } from './engine/sampler.ts';
import type { EngineRequest, PromptImage } from './engine/sequence.ts';

const DEFAULT_MAX_TOKENS = 256;

/** What a prompt became on the way to the engine. */
export interface Prepared {
  prompt: number[];
  images: PromptImage[];
  adapter: string | undefined;
  grammar: GrammarSpec | undefined;
}

/** One request of the engine for each answer that is wanted; they differ in their seeds. */
export function toEngineRequests(
  { sampling, priority }: GenerateRequest,
  { prompt, images, adapter, grammar }: Prepared,
  contextLength: number,
  { tenant, subject }: Identity,
): EngineRequest[] {
  const parameters = samplingParameters(sampling);
  return Array.from({ length: sampling?.n ?? 1 }, (_, index) => ({
    id: randomUUID(),
    prompt,
    images,
    adapter,
    tenant,
    client: subject,
    priority,
    promptLookup: sampling?.promptLookup,
    grammar,
    sampling: { ...parameters, seed: seedOf(parameters.seed, index) },
    maxTokens: Math.min(sampling?.maxTokens ?? DEFAULT_MAX_TOKENS, contextLength - prompt.length),
    stop: sampling?.stop ?? [],
    ignoreEos: sampling?.ignoreEos ?? false,
  }));
}

function samplingParameters(sampling: SamplingOptions | undefined): SamplingParameters {
  return {
    temperature: sampling?.temperature ?? 0,
    topK: sampling?.topK ?? 0,
    topP: sampling?.topP ?? 1,
    minP: sampling?.minP,
    repetitionPenalty: sampling?.repetitionPenalty,
    frequencyPenalty: sampling?.frequencyPenalty,
    presencePenalty: sampling?.presencePenalty,
    logitBias: Object.entries(sampling?.logitBias ?? {}).map(([token, value]) => [Number(token), value]),
    seed: sampling?.seed ?? randomBytes(8).readBigUInt64LE(),
    topLogprobs: sampling?.topLogprobs,
  };
}

/** What the contract's rules can't say: it depends on the model, or on two fields. @throws LandfallError */
export function checkRequest(
  { sampling, constraint }: GenerateRequest,
  { vocabularySize }: Pick<ModelShape, 'vocabularySize'>,
): void {
  const outside = Object.keys(sampling?.logitBias ?? {}).find((token) => Number(token) >= vocabularySize);
  if (outside !== undefined)
    throw invalidArgument(
      `sampling.logit_bias[${outside}]`,
      `is outside the model's vocabulary of ${vocabularySize} tokens`,
    );
  if (constraint && sampling?.ignoreEos)
    throw invalidArgument(
      'sampling.ignore_eos',
      'an output that is held to a constraint ends where that says',
    );
}

/** The constraint as the engine knows it, with its field in the request. */
export function constraintOf({
  kind,
}: OutputConstraint): { field: string; constraint: Constraint } | undefined {
  switch (kind.case) {
    case 'jsonSchema':
      return { field: 'constraint.json_schema', constraint: { kind: kind.case, schema: kind.value } };
    case 'regex':
      return { field: 'constraint.regex', constraint: { kind: kind.case, pattern: kind.value } };
    case 'choice':
      return { field: 'constraint.choice', constraint: { kind: kind.case, options: kind.value.options } };
    case 'jsonObject':
      return { field: 'constraint.json_object', constraint: { kind: kind.case } };
    default:
      return undefined;
  }
}
