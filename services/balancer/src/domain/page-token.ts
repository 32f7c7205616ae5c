import { createHash } from 'node:crypto';
import { invalidArgument } from '@landfall/common/errors/errors.ts';

const fingerprint = (filters: readonly unknown[]) =>
  createHash('sha256').update(JSON.stringify(filters)).digest('base64url').slice(0, 12);

/** Where the next page begins: the last name of this one, and a mark of the filters that it belongs to. */
export function encodePageToken(name: string, filters: readonly unknown[]): string {
  return Buffer.from(JSON.stringify([fingerprint(filters), name])).toString('base64url');
}

/** The name in a token; undefined for the first page. @throws LandfallError INVALID_ARGUMENT */
export function decodePageToken(token: string, filters: readonly unknown[]): string | undefined {
  if (token === '') return undefined;
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
  } catch {
    parts = undefined;
  }
  const [mark, name] = Array.isArray(parts) ? parts : [];
  if (mark !== fingerprint(filters) || typeof name !== 'string' || !/^[a-z0-9._-]{1,64}$/.test(name)) {
    throw invalidArgument(
      'page_token',
      'is not of this list with these filters; start again without a token',
    );
  }
  return name;
}
