const NONE = {
  hits: 0,
  similarHits: 0,
  misses: 0,
  joined: 0,
  bypasses: 0,
  stored: 0,
  personal: 0,
  savedTokens: 0,
};

/** What CacheStatistics counts. */
export type UseTally = typeof NONE;

export const noUse = (): UseTally => ({ ...NONE });

/** What this process has counted for a tenant. */
export class UseCounts {
  readonly tally = noUse();
  /** Whether there is something that the database has not. */
  dirty = false;

  add(what: keyof UseTally, count = 1): void {
    this.tally[what] += count;
    this.dirty = true;
  }
}
