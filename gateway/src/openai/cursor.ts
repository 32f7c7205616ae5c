import { BadRequest } from './errors.ts';

/** What a list's `limit` and `after` may be. */
interface CursorRules {
  /** Items of a page that was asked for without a limit. */
  standard: number;
  most: number;
  /** What ids look like, and of what they are. */
  id: RegExp;
  of: string;
}

/** Where a page of OpenAI's lists begins, and how much it holds. @throws BadRequest */
export function cursorOf(
  search: URLSearchParams,
  { standard, most, id, of }: CursorRules,
): { limit: number; after: string } {
  const limit = Number(search.get('limit') ?? standard);
  const after = search.get('after') ?? '';
  if (!Number.isInteger(limit) || limit < 1 || limit > most)
    throw new BadRequest('limit', `must be a whole number from 1 to ${most}`);
  if (after !== '' && !id.test(after)) throw new BadRequest('after', `must be the id of ${of}`);
  return { limit, after };
}
