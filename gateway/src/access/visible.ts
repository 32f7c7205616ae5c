import { create, type DescMethod, type Message } from '@bufbuild/protobuf';
import { hasRules, knowsAll } from '@landfall/common/identity/check.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { resourcesIn } from '@landfall/common/identity/resources.ts';
import { requireShown } from './by-id.ts';
import { FILTERED, type ShownList } from './lists.ts';

/** A message by its fields. */
type Fields = Message & Record<string, unknown>;

/** Pages that are read more to fill one: behind them a page is shown that holds fewer than were asked for. */
const MOST_CALLS = 32;
const LARGEST_PAGE = 500;

/**
 * A reply without what the caller may not know of: not at all where it shows one thing that they may not know of. Of a list in pages more is read in its place, so that a page holds
 * as many as were asked for, and the next one begins behind its last.
 * @param again reads another page of the same list
 * @throws LandfallError NOT_FOUND
 */
export async function visible(
  caller: Identity,
  method: DescMethod,
  reply: Message,
  request: Message | undefined,
  again: (request: Message) => Promise<Message>,
): Promise<Message> {
  if (!hasRules(caller)) return reply;
  if (request) requireShown(caller, method, request, reply);
  const lists = FILTERED.get(method);
  if (!lists) return reply;
  const fields = reply as Fields;
  const kept = lists.map((list) => [list, shownOf(caller, method, list, reply)] as const);
  if (kept.every(([{ field }, items]) => items.length === (fields[field] as unknown[]).length)) return reply;
  const shown = create(method.output, {
    ...fields,
    ...Object.fromEntries(kept.map(([{ field }, items]) => [field, items])),
  } as never);
  const [[list, items]] = kept as [readonly [ShownList, Message[]]];
  if (request && fields.nextPageToken) {
    const all = (fields[list.field] as unknown[]).length;
    const wanted = (request as Fields & { pageSize: number }).pageSize || all;
    await fill(caller, method, list, { shown: shown as Fields, items, wanted, request, again });
  }
  return shown;
}

/** Whether a caller may know of everything that an item of a list is or names. */
export function mayKnow(
  caller: Identity,
  method: DescMethod,
  { field, own, only }: ShownList,
  item: Message,
) {
  const held = method.output.fields.find(({ localName }) => localName === field)!;
  return knowsAll(caller, resourcesIn(held.message!, item, own, only));
}

function shownOf(caller: Identity, method: DescMethod, list: ShownList, reply: Message): Message[] {
  const items = (reply as Fields)[list.field] as Message[];
  return items.filter((item) => mayKnow(caller, method, list, item));
}

interface Filling {
  /** What is filled: its list and its token. */
  shown: Fields;
  items: Message[];
  wanted: number;
  request: Message;
  again: (request: Message) => Promise<Message>;
}

async function fill(
  caller: Identity,
  method: DescMethod,
  list: ShownList,
  { shown, items, wanted, request, again }: Filling,
): Promise<void> {
  let pageSize = Math.max(1, wanted - items.length);
  for (let calls = 0; calls < MOST_CALLS && items.length < wanted && shown.nextPageToken !== ''; calls++) {
    const asked = create(method.input, { ...request, pageSize, pageToken: shown.nextPageToken } as never);
    const page = (await again(asked)) as Fields;
    const more = shownOf(caller, method, list, page);
    const room = wanted - items.length;
    if (more.length > room) {
      // Read once more up to the last that has room: the next page begins behind it.
      pageSize = (page[list.field] as Message[]).indexOf(more[room - 1]!) + 1;
      continue;
    }
    items.push(...more);
    shown.nextPageToken = page.nextPageToken;
    // A long stretch of what is hidden is read in larger and larger steps.
    pageSize = more.length === 0 ? Math.min(2 * pageSize, LARGEST_PAGE) : Math.max(1, wanted - items.length);
  }
  shown[list.field] = items;
}
