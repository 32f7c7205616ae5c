import { failedPrecondition, type LandfallError } from '@landfall/common/errors/errors.ts';
import { garbled, ServerFailure } from './openai-errors.ts';

/** Tokens of a text, and the natural log probability of each given those before it; null where there are none before. */
export interface Echo {
  tokens: string[];
  logprobs: (number | null)[];
}

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Refusals that tell of a server without the means, and not of the text: its model answers otherwise. */
const WITHOUT_MEANS = new Set(['BACKEND_REFUSES', 'BACKEND_UNIMPLEMENTED', 'MODEL_NOT_FOUND']);

/** A server that has no way to tell how likely a given text is. */
export const cannotScore = (why: string): LandfallError =>
  failedPrecondition(`the server behind this replica can not score a given completion: ${why}`, {
    reason: 'BACKEND_CANNOT_SCORE',
  });

export const scoresNoChat = (): LandfallError =>
  cannotScore('it is asked by text alone, and how its model writes a chat is not known; give prompt');

/**
 * A text to be given back with its log probabilities: `echo` of the completions endpoint, as vLLM and others keep it.
 * @param maxTokens 0; 1 for servers that do not make so few
 */
export function echoBody(model: string, prompt: string, maxTokens: 0 | 1): Json {
  return { model, prompt, echo: true, logprobs: 1, max_tokens: maxTokens, temperature: 0 };
}

/** What an echo gives back. @throws ServerFailure where it is no echo of this text */
export function readEcho(reply: unknown): Echo {
  const choice = isObject(reply) && Array.isArray(reply.choices) ? reply.choices[0] : undefined;
  if (!isObject(choice)) throw garbled('a reply without choices');
  const { tokens, token_logprobs: logprobs } = isObject(choice.logprobs) ? choice.logprobs : {};
  const usage = isObject(reply) && isObject(reply.usage) ? reply.usage : {};
  const count = usage.prompt_tokens;
  const known = Array.isArray(tokens) && Array.isArray(logprobs) && typeof count === 'number';
  // What it has made itself stands behind the prompt; without an echo there is that alone.
  if (!known || !(count > 0) || tokens.length < count || logprobs.length < count) throw noEcho();
  // The first has nothing before it. Any other without a probability was not computed.
  const own = logprobs.slice(0, count);
  if (own.some((value, i) => typeof value !== 'number' && i > 0)) throw noEcho();
  return {
    tokens: tokens.slice(0, count).map(String),
    logprobs: own.map((value) => (typeof value === 'number' ? value : null)),
  };
}

const noEcho = () =>
  new ServerFailure(cannotScore('it gives no log-probabilities of a prompt (echo with logprobs)'), false);

/**
 * The completion's part of a text: what stands behind the tokens that the prompt alone has too. A token across their
 * border is the completion's.
 */
export function scoreOf(prompt: Echo, whole: Echo): { tokens: number; logProbability: number } {
  let shared = 0;
  while (shared < prompt.tokens.length && prompt.tokens[shared] === whole.tokens[shared]) shared++;
  const scored = whole.logprobs.slice(shared).filter((value) => value !== null);
  return { tokens: scored.length, logProbability: scored.reduce((sum, value) => sum + value, 0) };
}

/** A refusal of an echo as whoever asked is told of it. */
export function toldOfEcho(error: unknown): unknown {
  if (!(error instanceof ServerFailure)) return error;
  const { told } = error;
  if (!isWithoutMeans(error)) return told;
  return cannotScore(`it takes no echo with logprobs (${told.message})`);
}

export function isWithoutMeans({ told }: ServerFailure): boolean {
  return WITHOUT_MEANS.has(told.reason ?? '');
}
