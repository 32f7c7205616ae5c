import { cors } from '@connectrpc/connect';
import { ConfigError, type Env } from '@landfall/common/config/env.ts';
import { writer } from '../openai/http.ts';
import type { EdgeHandler } from './one-port.ts';

/** Headers that pages may send beside those that browsers let them: of Connect, gRPC-Web, keys and traces. */
const ALLOWED = [
  ...[...cors.allowedHeaders, 'Authorization', 'X-Request-Id', 'Traceparent', 'Tracestate'],
  ...['Cache-Control', 'X-Landfall-Cache'],
].join(', ');
/** Headers of answers that pages may read. */
const EXPOSED = [
  ...[...cors.exposedHeaders, 'X-Request-Id', 'Retry-After', 'Retry-After-Ms'],
  ...['RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset'],
  ...['Age', 'X-Landfall-Cache', 'X-Landfall-Cache-Similarity'],
].join(', ');
const METHODS = [...cors.allowedMethods, 'DELETE'].join(', ');
/** How long a browser need not ask again, in seconds. */
const FRESH_S = '7200';

/**
 * LANDFALL_CORS_ORIGINS, separated by commas.
 * @throws ConfigError for what is no origin: `*` and `null` would be everybody
 */
export function readOrigins(env: Env): string[] {
  const origins = (env.LANDFALL_CORS_ORIGINS ?? '').split(',').map((each) => each.trim());
  const given = origins.filter((each) => each !== '');
  const odd = given.find((each) => !URL.canParse(each) || new URL(each).origin !== each);
  if (odd)
    throw new ConfigError('LANDFALL_CORS_ORIGINS', `holds ${odd}; give origins such as https://a.example`);
  return given;
}

/**
 * Lets pages of some origins read answers (CORS). Keys go in a header and never in a cookie, so no page acts in the name
 * of a visitor; what pages of other origins send is answered as anybody's, and their browser keeps the answer from them.
 * @param origins `https://console.acme.example`, with its port where it is not the scheme's own
 */
export function withCrossOrigin(handler: EdgeHandler, origins: readonly string[]): EdgeHandler {
  if (origins.length === 0) return handler;
  const allowed = new Set(origins);
  return (request, response) => {
    const { origin } = request.headers;
    writer(response).setHeader('vary', 'Origin');
    if (origin === undefined || !allowed.has(origin)) {
      handler(request, response);
      return;
    }
    writer(response).setHeader('access-control-allow-origin', origin);
    if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined) {
      writer(response).setHeader('access-control-expose-headers', EXPOSED);
      handler(request, response);
      return;
    }
    writer(response).writeHead(204, {
      'access-control-allow-methods': METHODS,
      'access-control-allow-headers': ALLOWED,
      'access-control-max-age': FRESH_S,
    });
    writer(response).end();
  };
}
