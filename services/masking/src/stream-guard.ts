import type { Finding } from './mask.ts';
import { replaced } from './mask.ts';

/** What a look at a text that goes on tells. */
export interface Look {
  /** In order and without overlaps. */
  found: Finding[];
  /**
   * A place before which nothing changes, whatever follows the text: findings that end there stay, and none begins
   * before it that is not there yet.
   */
  settled: number;
}

/** What is looked for in a stream. */
export interface StreamCheck {
  /**
   * Findings that end behind `from`, before which the text was settled: the check looks at what stands before
   * as far as it leads to findings, and need not look for others there. Where nothing new is settled it need not tell of
   * findings at all.
   *
   * @param ends true where nothing follows: all of it is settled
   */
  look(text: string, from: number, ends: boolean): Look;
}

/** Text before what is held that is looked at again: as far back as a word that leads to a finding stands. */
const CONTEXT = 128;
/** No finding is longer: what is held beyond it can be shown. */
const MOST_HELD = 1024;

/**
 * Shows a text that comes in parts only once it has been checked. Whatever its parts, what is shown is what a check of
 * the whole text would have shown. Held back is only what may still become a part of a finding.
 */
export class StreamGuard {
  readonly #check: StreamCheck;
  readonly #replacement: (one: Finding, text: string) => string;
  /** What was shown last, then what is held. */
  #text = '';
  #shown = 0;
  #half = '';
  #findings: Finding[] = [];

  /** @param replacement of a finding, with what was found */
  constructor(check: StreamCheck, replacement: (one: Finding, text: string) => string) {
    this.#check = check;
    this.#replacement = replacement;
  }

  /** Units of text that are held back. */
  get held(): number {
    return this.#text.length - this.#shown + this.#half.length;
  }

  /** Findings since it was asked last, without their places. */
  takeFindings(): Finding[] {
    return this.#findings.splice(0);
  }

  /** Takes the next part in and returns what can be shown now. */
  push(part: string): string {
    const whole = this.#half + part;
    const last = whole.charCodeAt(whole.length - 1);
    // The first half of a character tells nothing yet.
    this.#half = last >= 0xd800 && last <= 0xdbff ? whole.slice(-1) : '';
    const added = this.#half ? whole.slice(0, -1) : whole;
    if (added === '') return '';
    this.#text += added;
    const least = this.#text.length - MOST_HELD;
    const { found, settled } = this.#check.look(this.#text, this.#shown, false);
    if (settled >= least) return this.#show(found, settled);
    return this.#show(this.#check.look(this.#text, this.#shown, true).found, least);
  }

  /** The rest, once no more comes. */
  end(): string {
    this.#text += this.#half;
    this.#half = '';
    return this.#show(this.#check.look(this.#text, this.#shown, true).found, this.#text.length);
  }

  #show(found: readonly Finding[], settled: number): string {
    const from = this.#shown;
    const crossing = found.find(({ start, end }) => start < settled && end > settled);
    const to = Math.max(from, crossing ? crossing.start : settled);
    if (to === from) return '';
    const here = found
      .filter(({ start, end }) => end > from && end <= to && start < to)
      .map((one) => ({ ...one, start: Math.max(one.start, from) - from, end: one.end - from }));
    this.#findings.push(...here);
    const fresh = this.#text.slice(from, to);
    const shown = replaced(fresh, here, (one) => this.#replacement(one, fresh.slice(one.start, one.end)));
    const dropped = Math.max(0, to - CONTEXT);
    this.#text = this.#text.slice(dropped);
    this.#shown = to - dropped;
    return shown;
  }
}
