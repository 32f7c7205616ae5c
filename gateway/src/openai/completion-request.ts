import { type Json, optionalInteger, record, refuse } from './body.ts';
import { BadRequest } from './errors.ts';
import { type OpenAiRequest, openAiRequest } from './request.ts';
import { MOST_TOKENS, samplingOptions } from './sampling.ts';

/** OpenAI's default of this route. */
const DEFAULT_MAX_TOKENS = 16;

/**
 * Reads the body of `POST /v1/completions`: one text to go on from.
 * @throws BadRequest that names the parameter.
 */
export function parseCompletionRequest(value: unknown): OpenAiRequest {
  const body = record(value, 'body');
  refuse(body, 'echo', (echo) => echo === false, 'is not served');
  refuse(body, 'suffix', (suffix) => suffix === '', 'is not served');
  refuse(body, 'best_of', (best) => best === (body.n ?? 1), 'is not served beyond n');
  return openAiRequest(body, {
    prompt: prompt(body),
    sampling: {
      ...samplingOptions(body),
      maxTokens: optionalInteger(body, 'max_tokens', 1, MOST_TOKENS) ?? DEFAULT_MAX_TOKENS,
      topLogprobs: optionalInteger(body, 'logprobs', 0, 20),
    },
  });
}

function prompt(body: Json): string {
  const [text, ...more] = Array.isArray(body.prompt) ? body.prompt : [body.prompt];
  if (typeof text !== 'string' || text === '' || more.length > 0) {
    throw new BadRequest('prompt', 'must be one text');
  }
  return text;
}
