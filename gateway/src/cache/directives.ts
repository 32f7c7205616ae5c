import type { EdgeCall } from '../edge/governance.ts';

/** What a call says of the answers that are kept. */
export interface CacheWish {
  /** None is given to it. */
  readonly fresh: boolean;
  /** Its own is not kept. */
  readonly unkept: boolean;
  /** None that is older is given to it. */
  readonly maxAgeSeconds: number;
  /** Whether it asks for one although its answer is left to chance. */
  readonly use: boolean;
}

const DIRECTIVE = /([a-z-]+)(?:\s*=\s*"?(\d+)"?)?/gi;
const NOTHING: CacheWish = {
  fresh: false,
  unkept: false,
  maxAgeSeconds: Number.POSITIVE_INFINITY,
  use: false,
};

/**
 * `cache-control` as RFC 9111 (5.2.1) has it for requests, of HTTP and of gRPC's metadata alike: `no-cache`, `no-store`,
 * `max-age`; what else it may say is ignored, as the standard asks. `x-landfall-cache: use` is ours.
 */
export function cacheWish({ header }: Pick<EdgeCall, 'header'>): CacheWish {
  const control = header('cache-control');
  const use = header('x-landfall-cache')?.trim().toLowerCase() === 'use';
  if (!control) return use ? { ...NOTHING, use } : NOTHING;
  let fresh = false;
  let unkept = false;
  let { maxAgeSeconds } = NOTHING;
  for (const [, name = '', seconds] of control.slice(0, 256).matchAll(DIRECTIVE)) {
    const directive = name.toLowerCase();
    if (directive === 'no-cache') fresh = true;
    if (directive === 'no-store') unkept = true;
    if (directive === 'max-age' && seconds !== undefined) maxAgeSeconds = Number(seconds);
  }
  return { fresh: fresh || unkept, unkept, maxAgeSeconds, use };
}
