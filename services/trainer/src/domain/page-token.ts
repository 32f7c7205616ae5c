import { invalidArgument } from '@landfall/common/errors/errors.ts';

export const DEFAULT_PAGE_SIZE = 50;

/** The id of a page's last job and the filter it was listed with; opaque to clients. */
export function encodePageToken(lastId: string, state: number): string {
  return Buffer.from(JSON.stringify([state, lastId])).toString('base64url');
}

/** @throws LandfallError INVALID_ARGUMENT for a token of another list */
export function decodePageToken(token: string, state: number): string | undefined {
  if (token === '') return undefined;
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
    if (
      Array.isArray(parts) &&
      parts[0] === state &&
      typeof parts[1] === 'string' &&
      /^[0-9a-f-]{36}$/.test(parts[1])
    ) {
      return parts[1];
    }
  } catch {
    // Not one of ours, as below.
  }
  throw invalidArgument(
    'page_token',
    'is not one of this list with this filter; start again without a token',
  );
}
