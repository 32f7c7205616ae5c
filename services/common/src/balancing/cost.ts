import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { longestMatch, PREFIX_BYTES } from './prefix-keys.ts';

/** What a request is about to ask of a replica, as far as its caller can tell. */
export interface Ask {
  promptTokens: number;
  /** New tokens at most. */
  outputTokens: number;
  /** See prefixKeys; empty for none. */
  prefixKeys: readonly bigint[];
}

/** Requests of this caller that the replica's last report can not count yet. */
export interface Unreported {
  requests: number;
  promptTokens: number;
  /** Prompt tokens of all requests of this caller that have had no answer at all, reported or not. */
  ownPromptTokens: number;
}

/** UTF-8 bytes that a token stands for, on average, where only the text is known. */
export const BYTES_PER_TOKEN = 4;
/** For calls whose work is not known. */
export const UNKNOWN_ASK: Ask = { promptTokens: 64, outputTokens: 64, prefixKeys: [] };

/** What is known of a request by the keys of its prompt's beginnings alone, the shortest first. */
export function askOfKeys(prefixKeys: readonly bigint[]): Ask {
  const bytes = PREFIX_BYTES[prefixKeys.length - 1] ?? 0;
  const promptTokens = Math.max(UNKNOWN_ASK.promptTokens, bytes / BYTES_PER_TOKEN);
  return { ...UNKNOWN_ASK, promptTokens, prefixKeys };
}

/** Prompt tokens that a replica computes in the time of one decode step (measured: 834 a second, 48 ms a step). */
const PROMPT_TOKENS_PER_STEP = 40;
/** A full batch's step takes so much longer than that of a single row (measured: 55 ms against 34 ms). */
const FULL_BATCH = 0.6;
const DEFAULT_STEP_MS = 50;
const DEFAULT_BATCH = 16;
/** New tokens of a request where the replica has finished none to learn from. */
const DEFAULT_OUTPUT_TOKENS = 64;
/** A cached beginning saves at most this share of what the prompt costs elsewhere, however long it is. */
const LARGEST_DISCOUNT = 0.9;

/**
 * Milliseconds until a replica would have answered one more request, by what it last told: prompts before it, the
 * request's own prompt less what is cached, its tokens at the pace of the batch that it joins, its wait for a place
 * when the batch is full, and all of it by the replica's step time. What one request costs those that run beside it is
 * left out. Chosen among simpler and smoother ones by p99 in the simulation of `npm run bench -- balance`.
 */
export function expectedMs(load: Load | undefined, unreported: Unreported, ask: Ask): number {
  const batch = load && load.maxBatch > 0 ? load.maxBatch : DEFAULT_BATCH;
  const others = unreported.requests + (load ? load.running + load.queued : 0);
  const reported = load ? Number(load.queuedTokens) : 0;
  // Prompts that are being computed are in no count of waiting ones, but their callers know of them.
  const before = Math.max(reported + unreported.promptTokens, unreported.ownPromptTokens);
  const prompts = before + ask.promptTokens - savedTokens(load, ask);
  const mean = meanOutput(load);
  const output = Math.min(ask.outputTokens, mean);
  const crowding = 1 + (FULL_BATCH * Math.min(others, batch)) / batch;
  const places = Math.max(0, others + 1 - batch) / batch;
  const stepMs = load && load.stepMs > 0 ? load.stepMs : DEFAULT_STEP_MS;
  const steps = prompts / PROMPT_TOKENS_PER_STEP + output * crowding + places * mean * (1 + FULL_BATCH);
  return stepMs * steps;
}

/** Prompt tokens that need not be computed where the prompt's beginning is cached. */
function savedTokens(load: Load | undefined, { prefixKeys, promptTokens }: Ask): number {
  if (!load || prefixKeys.length === 0 || load.cachedPrefixes.length === 0) return 0;
  const match = longestMatch(prefixKeys, load.cachedPrefixes);
  if (match < 0) return 0;
  return Math.min(PREFIX_BYTES[match]! / BYTES_PER_TOKEN, promptTokens * LARGEST_DISCOUNT);
}

function meanOutput(load: Load | undefined): number {
  if (!load || load.finished < 8n) return DEFAULT_OUTPUT_TOKENS;
  return Number(load.outputTokens) / Number(load.finished);
}

/** Whether one more request would have to wait for a place behind others. */
export function isFull(load: Load | undefined, unreported: Unreported): boolean {
  if (!load || load.maxBatch === 0) return false;
  return load.queued > 0 && load.running + load.queued + unreported.requests >= load.maxBatch;
}
