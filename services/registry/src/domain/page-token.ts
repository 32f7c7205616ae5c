import { createHash } from 'node:crypto';
import { invalidArgument } from '@landfall/common/errors/errors.ts';

export const DEFAULT_PAGE_SIZE = 50;

/**
 * Page tokens: the sort key of the last row of a page and a fingerprint of the filters, so that a token can't be
 * used with another question. Opaque to clients; the key is only ever a bound parameter of a query.
 */
export function encodePageToken(key: readonly string[], filters: readonly unknown[]): string {
  return Buffer.from(JSON.stringify([fingerprint(filters), ...key])).toString('base64url');
}

/** The sort key of a token with `length` parts, or undefined for the first page. Throws INVALID_ARGUMENT. */
export function decodePageToken(
  token: string,
  length: number,
  filters: readonly unknown[],
): string[] | undefined {
  if (token === '') return undefined;
  const problem = invalidArgument(
    'page_token',
    'the token is not one of this list with these filters; start again without a token',
  );
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
  } catch {
    throw problem;
  }
  if (!Array.isArray(parts) || parts.length !== length + 1) throw problem;
  if (!parts.every((part) => typeof part === 'string' && part.length <= 512 && !part.includes('\0')))
    throw problem;
  if (parts[0] !== fingerprint(filters)) throw problem;
  return parts.slice(1) as string[];
}

function fingerprint(filters: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(filters)).digest('base64url').slice(0, 12);
}
