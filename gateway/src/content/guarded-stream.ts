import { create, type DescMessage, type Message } from '@bufbuild/protobuf';
import { settledBefore } from '@landfall/masking/settled.ts';
import { type Look, StreamGuard } from '@landfall/masking/stream-guard.ts';
import type { SieveFinding, SieveStream } from './category-sieve.ts';
import type { Check } from './check.ts';
import { PSEUDONYM, type Vault } from './pseudonyms.ts';

export interface StreamRules {
  check: Check | undefined;
  /** What is put back. */
  vault: Vault;
  version: number;
  /** Checks what is not streamed piece by piece: all texts of a message but its delta. @throws Flagged */
  whole(message: Message): Message;
  /**
   * Keeps an answer for a reviewer, and tells the caller so by an error. It is given all parts of the answer, as they came.
   * @param filters by which it was flagged
   */
  hold(parts: readonly Message[], filters: readonly string[]): Promise<never>;
}

/** An answer that waits for a person from here on. */
export class Flagged extends Error {
  readonly filters: readonly string[];

  constructor(filters: readonly string[]) {
    super('flagged');
    this.filters = filters;
  }
}

/** A part of an answer in pieces, as the contracts write them. */
interface Part extends Message {
  delta: string;
  index?: number;
  finishReason?: number;
  usage?: unknown;
  logprobs?: unknown[];
  invocation?: unknown;
  reset?: boolean;
}

/** Type of a finding that is put back. */
const PUT_BACK = 'pseudonym';
/** Longest name that may come in pieces. */
const NAME_END = /(?:^|[^A-Z0-9_])([A-Z][A-Z0-9_]{0,48})$/;

/**
 * Shows parts of answers as far as they have been checked. Text in pieces (`delta`) is held back while it may still
 * become a finding; other texts are checked as they stand. Log-probabilities tell tokens that may have been replaced, so
 * they are left out.
 */
export async function* guardedStream(
  type: DescMessage,
  parts: AsyncIterable<Message>,
  rules: StreamRules,
): AsyncGenerator<Message> {
  const { check, version } = rules;
  if (!isTextInParts(type)) {
    yield* wholeParts(parts, rules);
    return;
  }
  const guards = new Map<number, Guard>();
  const guardOf = (index: number) => {
    const known = guards.get(index) ?? newGuard(rules);
    guards.set(index, known);
    return known;
  };
  // An answer that may have to wait is kept whole.
  const seen: Message[] | undefined = check?.mayFlag ? [] : undefined;
  let flagged: readonly string[] | undefined;
  for await (const message of parts) {
    seen?.push(message);
    if (flagged) continue;
    const part = message as Part;
    const index = part.index ?? 0;
    // What was said before is void: so is what is held of it.
    if (part.reset) guards.delete(index);
    const guard = guardOf(index);
    const last = Boolean(part.finishReason || part.invocation);
    try {
      let shown = guard.push(part.delta);
      if (last) {
        shown += guard.end();
        guards.delete(index);
      }
      const { stopped } = guard;
      // The delta is checked by its guard alone: pieces that were shown have no context of their own.
      const others = stopped ? undefined : (rules.whole({ ...part, delta: '' } as Part) as Part);
      if (!others) {
        if (shown !== '') yield textPart(type, shown, index);
        flagged = flaggedBy(stopped!, check!, version);
        continue;
      }
      if (shown === '' && part.delta !== '' && !last && isBare(part)) continue;
      yield { ...others, delta: shown, ...(part.logprobs ? { logprobs: [] } : {}) } as Message;
    } catch (cause) {
      if (!(cause instanceof Flagged)) throw cause;
      flagged = cause.filters;
    }
  }
  for (const [index, guard] of flagged ? [] : guards) {
    try {
      const delta = guard.end();
      if (delta !== '') yield textPart(type, delta, index);
      if (guard.stopped) flagged = flaggedBy(guard.stopped, check!, version);
    } catch (cause) {
      if (!(cause instanceof Flagged)) throw cause;
      flagged = cause.filters;
    }
    if (flagged) break;
  }
  if (flagged) await rules.hold(seen!, flagged);
}

/** Whether messages of a type are parts of one text. */
export const isTextInParts = (type: DescMessage): boolean => type.fields.some(({ name }) => name === 'delta');

/** Parts that are messages of their own: each is checked as it stands, and waits by itself. */
async function* wholeParts(parts: AsyncIterable<Message>, rules: StreamRules): AsyncGenerator<Message> {
  for await (const part of parts) {
    let shown: Message;
    try {
      shown = rules.whole(part);
    } catch (cause) {
      if (!(cause instanceof Flagged)) throw cause;
      await rules.hold([part], cause.filters);
      return;
    }
    yield shown;
  }
}

function textPart(type: DescMessage, delta: string, index: number): Message {
  return create(type, { delta, ...(index > 0 ? { index } : {}) } as never) as Message;
}

/** @throws LandfallError where what was found is blocked */
function flaggedBy({ action, name }: SieveFinding, check: Check, version: number): string[] {
  if (action === 'block') throw check.refusal('answer', [name], version);
  return [name];
}

/** An answer in pieces as one part: its text is on the last one, where a stream that is held back shows its rest too. */
export function joined(parts: readonly Message[]): Message[] {
  const texts = new Map<number, string>();
  const lasts = new Map<number, number>();
  for (const [i, message] of parts.entries()) {
    const { delta, reset, index = 0 } = message as Part;
    texts.set(index, (reset ? '' : (texts.get(index) ?? '')) + delta);
    lasts.set(index, i);
  }
  return parts.flatMap((message, i) => {
    const part = message as Part;
    const index = part.index ?? 0;
    const delta = lasts.get(index) === i ? texts.get(index)! : '';
    if (delta === '' && !part.finishReason && !part.reset && isBare(part)) return [];
    return [{ ...part, delta, ...(part.logprobs ? { logprobs: [] } : {}) } as Message];
  });
}

/** Nothing but a piece of text, of which nothing can be shown yet. */
function isBare({ usage, reset, ...part }: Part): boolean {
  const { invocationId, load, model } = part as { invocationId?: string; load?: unknown; model?: string };
  return !usage && !reset && !invocationId && !load && !model;
}

/** What shows a text as far as it has been checked. */
interface Guard {
  push(piece: string): string;
  end(): string;
  /** What has ended the text. */
  readonly stopped?: SieveFinding | undefined;
}

function newGuard(rules: StreamRules): Guard {
  const guard = newStreamGuard(rules);
  return rules.check?.sieve ? new SiftedGuard(rules.check.sieve.open(), guard) : guard;
}

/** Sentences are looked at for their categories before what is in them is. */
class SiftedGuard implements Guard {
  readonly #sieve: SieveStream;
  readonly #guard: StreamGuard;

  constructor(sieve: SieveStream, guard: StreamGuard) {
    this.#sieve = sieve;
    this.#guard = guard;
  }

  get stopped(): SieveFinding | undefined {
    return this.#sieve.stopped;
  }

  push(piece: string): string {
    const shown = this.#guard.push(this.#sieve.push(piece));
    return this.stopped ? shown + this.#guard.end() : shown;
  }

  end(): string {
    return this.#guard.push(this.#sieve.end()) + this.#guard.end();
  }
}

function newStreamGuard({ check, vault, version }: StreamRules): StreamGuard {
  const look = (text: string, from: number, ends: boolean): Look => {
    const checked = check?.look(text, from, ends) ?? { found: [], settled: text.length };
    return vault.isEmpty ? checked : withPutBack(text, checked, vault, ends);
  };
  return new StreamGuard({ look }, (one, written) => {
    if (one.type === PUT_BACK) return vault.original(written) ?? written;
    const kinds = check!.blocked([one]);
    if (kinds.length > 0) throw check!.refusal('answer', kinds, version);
    if (check!.flags(one)) throw new Flagged([one.type]);
    return check!.inPlaceOf(one, written, undefined);
  });
}

/** Names of this call go before what else was found over them. */
function withPutBack(text: string, { found, settled }: Look, vault: Vault, ends: boolean): Look {
  const names = [...text.matchAll(PSEUDONYM)]
    .filter(([name]) => vault.original(name) !== undefined)
    .map(({ 0: name, index }) => ({ type: PUT_BACK, start: index, end: index + name.length }));
  const others = found.filter((one) => !names.some((name) => name.start < one.end && one.start < name.end));
  const all = [...names, ...others].sort((a, b) => a.start - b.start);
  if (ends) return { found: all, settled };
  const open = NAME_END.exec(text);
  const until = open ? Math.min(settled, text.length - open[1]!.length) : settled;
  return { found: all, settled: settledBefore(text, names, until) };
}
