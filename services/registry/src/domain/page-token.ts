import { createHash } from 'node:crypto';
import { invalidArgument } from '@landfall/common/errors/errors.ts';

export const DEFAULT_PAGE_SIZE = 50;

/**
 * Page tokens: the sort key of the last row of a page and a fingerprint of the filters, so that a token can't be
 * used with another question. Opaque to clients; the key is checked, and only ever a bound parameter of a query.
 */
export function encodePageToken(key: string, filters: readonly unknown[]): string {
  return Buffer.from(JSON.stringify([fingerprint(filters), key])).toString('base64url');
}

/**
 * The sort key in a token, or undefined for the first page.
 * @param shape what a key of this list looks like
 * Throws INVALID_ARGUMENT for a token that is not one of this list with these filters.
 */
export function decodePageToken(
  token: string,
  shape: RegExp,
  filters: readonly unknown[],
): string | undefined {
  if (token === '') return undefined;
  const parts = parseToken(token);
  const [print, key] = Array.isArray(parts) && parts.length === 2 ? (parts as unknown[]) : [];
  if (print === fingerprint(filters) && typeof key === 'string' && shape.test(key)) return key;
  throw invalidArgument(
    'page_token',
    'the token is not one of this list with these filters; start again without a token',
  );
}

function parseToken(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}

function fingerprint(filters: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(filters)).digest('base64url').slice(0, 12);
}
