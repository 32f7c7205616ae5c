import { invalidArgument } from '@landfall/common/errors/errors.ts';

/** Ids of version 7 sort by time: keys of lists in that order. */
export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Names of whatever kind: keys of lists in their order. */
export const NAME = /^[\w.@:+-]{1,200}$/;

/** Page size as asked for; 0 means 50. */
export const pageSize = (asked: number): number => asked || 50;

/** The key after which a page begins, or undefined for the first. @param shape what a key of this list looks like */
export function afterKey(token: string, shape: RegExp): string | undefined {
  if (token === '') return undefined;
  const key = Buffer.from(token, 'base64url').toString('latin1');
  if (!shape.test(key))
    throw invalidArgument('page_token', 'is not one of this list; start again without it');
  return key;
}

/** Splits off the row that only tells that there is another page. */
export function page<T>(
  rows: T[],
  size: number,
  key: (row: T) => string,
): { rows: T[]; nextPageToken: string } {
  if (rows.length <= size) return { rows, nextPageToken: '' };
  const kept = rows.slice(0, size);
  return { rows: kept, nextPageToken: Buffer.from(key(kept.at(-1)!), 'latin1').toString('base64url') };
}
