import {
  booleanVar,
  ConfigError,
  choiceVar,
  type Env,
  integerVar,
  stringVar,
} from '@landfall/common/config/env.ts';

/** A server that speaks OpenAI's API. */
export interface OpenAiConfig {
  kind: 'openai';
  /** What `/chat/completions` is appended to, without a slash at its end. */
  url: string;
  /** Bearer token; empty for none. From the environment alone. */
  key: string;
  /** What the server calls the base. */
  model: string;
  /** Whether it is out of the house: no personal data goes there. */
  remote: boolean;
  /** Whether images may go out of the house all the same: nobody knows who or what is in them. */
  remoteImages: boolean;
  /** Whether it is known to take vLLM's extensions: top_k, min_p, repetition_penalty, ignore_eos, guided_*. */
  extensions: boolean;
  /** Longest silence: to the answer's first byte, and between any two. */
  silenceMs: number;
  /** Longest answer in all. */
  answerMs: number;
  /** Largest answer, in bytes as they are read. */
  maxAnswerBytes: number;
}

/** Who answers: our own engine, transformers.js on an exported folder, or another server. */
export type BackendConfig = { kind: 'engine' } | { kind: 'transformersjs' } | OpenAiConfig;

const PREFIX = 'LANDFALL_TEXT_BACKEND';

/**
 * Reads LANDFALL_TEXT_BACKEND and LANDFALL_TEXT_BACKEND_*.
 * @throws ConfigError that names the variable.
 */
export function readBackendConfig(env: Env): BackendConfig {
  const kind = choiceVar(env, PREFIX, 'engine', ['engine', 'openai', 'transformersjs'] as const);
  if (kind !== 'openai') return { kind };
  const remote = booleanVar(env, `${PREFIX}_REMOTE`, false);
  return {
    kind,
    url: backendUrl(stringVar(env, `${PREFIX}_URL`), remote),
    key: env[`${PREFIX}_KEY`] ?? '',
    model: stringVar(env, `${PREFIX}_MODEL`),
    remote,
    remoteImages: booleanVar(env, `${PREFIX}_REMOTE_IMAGES`, false),
    extensions: booleanVar(env, `${PREFIX}_EXTENSIONS`, false),
    silenceMs: integerVar(env, `${PREFIX}_SILENCE_MS`, 60_000, 100, 300_000),
    answerMs: integerVar(env, `${PREFIX}_ANSWER_MS`, 600_000, 100, 86_400_000),
    maxAnswerBytes: integerVar(env, `${PREFIX}_MAX_ANSWER_BYTES`, 64 * 1024 * 1024, 1024, 1024 ** 3),
  };
}

/** Its own address is not shown in an error: a mistyped one may hold a key. */
function backendUrl(text: string, remote: boolean): string {
  const name = `${PREFIX}_URL`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) throw new ConfigError(name, 'is no http or https URL');
  if (url.username || url.password || url.search || url.hash) {
    throw new ConfigError(name, `may hold no password and no query; the key goes into ${PREFIX}_KEY`);
  }
  const here = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (remote && url.protocol === 'http:' && !here) {
    throw new ConfigError(name, 'is not https, and the server is out of the house');
  }
  return url.href.replace(/\/+$/, '');
}
