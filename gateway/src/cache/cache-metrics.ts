import { type Observation, observe } from '@landfall/common/telemetry/metrics.ts';
import type { CacheBook } from './cache-book.ts';

/** Names of outcomes as the answer's header tells them, and what counts them. */
const OUTCOMES = [
  ['hit', 'hits'],
  ['similar', 'similarHits'],
  ['miss', 'misses'],
  ['bypass', 'bypasses'],
] as const;

/** Figures of the cache of answers, by tenant. @returns ends them */
export function observeCache(book: CacheBook): () => void {
  const requests = { description: 'Generations by what the cache of answers made of them, in this gateway' };
  const entries = { description: 'Answers that are kept, as far as this gateway knows' };
  const bytes = { description: 'Bytes of answers that are kept, as far as this gateway knows', unit: 'By' };
  const ends = [
    observe('counter', 'landfall_cache_requests', requests, () =>
      book.tenants.flatMap(({ tenant, counts }) =>
        OUTCOMES.map(([outcome, name]): Observation => [counts.tally[name], { tenant, outcome }]),
      ),
    ),
    observe('gauge', 'landfall_cache_entries', entries, () =>
      book.tenants.map(({ tenant, entries }): Observation => [entries, { tenant }]),
    ),
    observe('gauge', 'landfall_cache_size', bytes, () =>
      book.tenants.map(({ tenant, bytes }): Observation => [bytes, { tenant }]),
    ),
  ];
  return () => {
    for (const end of ends) end();
  };
}
