import { unimplemented } from '@landfall/common/errors/errors.ts';
import type { OutputConstraint, SamplingOptions } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

/** A request in OpenAI's form. */
export interface OpenAiCall {
  path: '/chat/completions' | '/completions';
  body: Record<string, unknown>;
}

const DEFAULT_MAX_TOKENS = 256;
/** JSON numbers are exact up to here. */
const SEED_BITS = 53;

/** A message as OpenAI's API takes it. */
export interface OpenAiMessage {
  role: string;
  content: string | ({ type: 'text'; text: string } | { type: 'image_url'; image_url: { url: string } })[];
}

/**
 * A request as OpenAI's API takes it.
 * @param messages of the request, in that form
 * @param extensions whether the server is known to keep vLLM's; a server that isn't may ignore them without a word
 * @throws LandfallError UNIMPLEMENTED for what the server may not keep
 */
export function openAiCall(
  request: GenerateRequest,
  messages: readonly OpenAiMessage[],
  model: string,
  extensions: boolean,
): OpenAiCall {
  const { prompt, sampling, constraint } = request;
  const chat = messages.length > 0;
  const more = { ...extensionsOf(sampling), ...guidedOf(constraint) };
  const [first] = Object.keys(more);
  if (first && !extensions) throw unserved(first);
  return {
    path: chat ? '/chat/completions' : '/completions',
    body: {
      model,
      ...(chat ? { messages } : { prompt }),
      stream: true,
      stream_options: { include_usage: true },
      temperature: sampling?.temperature ?? 0,
      max_tokens: sampling?.maxTokens ?? DEFAULT_MAX_TOKENS,
      ...standardOf(sampling, chat),
      ...formatOf(constraint),
      ...more,
    },
  };
}

function unserved(parameter: string) {
  return unimplemented(`the server behind this replica is not known to keep ${parameter}`, {
    reason: 'BACKEND_EXTENSION',
    metadata: { parameter },
  });
}

/** What was given, under its name in the API; what was not is left to the server's own default. */
function given(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function standardOf(sampling: SamplingOptions | undefined, chat: boolean): Record<string, unknown> {
  if (!sampling) return {};
  const { seed, stop, logitBias, topLogprobs } = sampling;
  const logprobs = chat ? { logprobs: true, top_logprobs: topLogprobs } : { logprobs: topLogprobs };
  return given({
    top_p: sampling.topP,
    seed: seed === undefined ? undefined : Number(BigInt.asUintN(SEED_BITS, seed)),
    stop: stop.length > 0 ? stop : undefined,
    frequency_penalty: sampling.frequencyPenalty || undefined,
    presence_penalty: sampling.presencePenalty || undefined,
    logit_bias: Object.keys(logitBias).length > 0 ? logitBias : undefined,
    n: sampling.n,
    ...(topLogprobs === undefined ? {} : logprobs),
  });
}

function extensionsOf(sampling: SamplingOptions | undefined): Record<string, unknown> {
  if (!sampling) return {};
  const { topK, minP, repetitionPenalty, ignoreEos } = sampling;
  return given({
    top_k: topK || undefined,
    min_p: minP || undefined,
    repetition_penalty: repetitionPenalty === 1 ? undefined : repetitionPenalty,
    ignore_eos: ignoreEos || undefined,
  });
}

function formatOf(constraint: OutputConstraint | undefined): Record<string, unknown> {
  const kind = constraint?.kind;
  if (kind?.case === 'jsonObject') return { response_format: { type: 'json_object' } };
  if (kind?.case !== 'jsonSchema') return {};
  // A schema that is no JSON is refused by the server as any other that it can't hold.
  const schema: unknown = parsed(kind.value);
  return {
    response_format: { type: 'json_schema', json_schema: { name: 'output', strict: true, schema } },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function guidedOf(constraint: OutputConstraint | undefined): Record<string, unknown> {
  const kind = constraint?.kind;
  if (kind?.case === 'regex') return { guided_regex: kind.value };
  if (kind?.case === 'choice') return { guided_choice: kind.value.options };
  return {};
}
