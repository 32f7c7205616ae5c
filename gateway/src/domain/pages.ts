import { invalidArgument } from '@landfall/common/errors/errors.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Page size as asked for; 0 means 50. */
export const pageSize = (asked: number): number => asked || 50;

/** The id after which a page begins, or undefined for the first. */
export function afterId(token: string): string | undefined {
  if (token === '') return undefined;
  const id = Buffer.from(token, 'base64url').toString('latin1');
  if (!UUID.test(id)) throw invalidArgument('page_token', 'is not one of this list; start again without it');
  return id;
}

/** Splits off the row that only tells that there is another page. */
export function page<T extends { id: string }>(
  rows: T[],
  size: number,
): { rows: T[]; nextPageToken: string } {
  if (rows.length <= size) return { rows, nextPageToken: '' };
  const kept = rows.slice(0, size);
  return { rows: kept, nextPageToken: Buffer.from(kept.at(-1)!.id, 'latin1').toString('base64url') };
}
