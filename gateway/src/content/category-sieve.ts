import { CATEGORIES } from '@landfall/filtering/categories/model.ts';
import { CategoryScanner } from '@landfall/filtering/categories/scanner.ts';
import { placeholder } from '@landfall/masking/mask.ts';
import { type CategoryThreshold, ContentCategory } from '@landfall/proto/landfall/gateway/v1/content_pb.js';

export type SieveAction = 'block' | 'redact' | 'flag';

/** A filter's thresholds. */
export interface SieveRule {
  name: string;
  action: SieveAction;
  /** Least score by category, in the order of CATEGORIES; infinite for those that are not looked for. */
  thresholds: Float64Array;
}

/** A part of a text that was found. */
export interface SieveFinding {
  name: string;
  action: SieveAction;
  category: ContentCategory;
  score: number;
  start: number;
  end: number;
}

/** @returns undefined where none is given */
export function sieveRule(
  name: string,
  action: SieveAction,
  categories: readonly CategoryThreshold[],
): SieveRule | undefined {
  if (categories.length === 0) return undefined;
  const thresholds = new Float64Array(CATEGORIES.length).fill(Number.POSITIVE_INFINITY);
  for (const { category, threshold } of categories) {
    const at = CATEGORIES.findIndex((one) => one.toUpperCase() === ContentCategory[category]);
    thresholds[at] = Math.min(thresholds[at]!, threshold);
  }
  return { name, action, thresholds };
}

const GRAVITY: readonly SieveAction[] = ['redact', 'flag', 'block'];

/** Looks for categories in texts, whole or as they come. */
export class CategorySieve {
  readonly #rules: readonly SieveRule[];

  constructor(rules: readonly SieveRule[]) {
    // Of several that find something, the gravest decides.
    this.#rules = [...rules].sort((a, b) => GRAVITY.indexOf(b.action) - GRAVITY.indexOf(a.action));
  }

  get mayFlag(): boolean {
    return this.#rules.some(({ action }) => action === 'flag');
  }

  /** What a part with these scores is found for. */
  judge(scores: Float64Array): Omit<SieveFinding, 'start' | 'end'> | undefined {
    for (const { name, action, thresholds } of this.#rules) {
      for (let k = 0; k < scores.length; k++) {
        if (scores[k]! < thresholds[k]!) continue;
        const category = ContentCategory[CATEGORIES[k]!.toUpperCase() as keyof typeof ContentCategory];
        return { name, action, category, score: scores[k]! };
      }
    }
    return undefined;
  }

  /** All that is found in a whole text, in order. */
  find(text: string): SieveFinding[] {
    const found: SieveFinding[] = [];
    let start = 0;
    const scanner = new CategoryScanner((end, scores) => {
      const what = this.judge(scores);
      if (what) found.push({ ...what, ...trimmed(text, start, end) });
      start = end;
      return what !== undefined;
    });
    scanner.push(text);
    scanner.end();
    return found;
  }

  /** For a text that comes in pieces. */
  open(): SieveStream {
    return new SieveStream(this);
  }
}

/** Lets a text pass sentence by sentence, once each is looked at. */
export class SieveStream {
  readonly #scanner: CategoryScanner;
  #held = '';
  /** Place of what is held in all that came. */
  #start = 0;
  #passed = '';
  #stopped: SieveFinding | undefined;

  constructor(sieve: CategorySieve) {
    this.#scanner = new CategoryScanner((end, scores) => {
      const what = sieve.judge(scores);
      this.#part(end, what && { ...what, start: this.#start, end });
      return what !== undefined;
    });
  }

  /** What has ended the text: it is blocked or flagged from there on. */
  get stopped(): SieveFinding | undefined {
    return this.#stopped;
  }

  /** Takes the next piece in and returns what can be shown now, with what is redacted replaced. */
  push(piece: string): string {
    if (this.#stopped) return '';
    this.#held += piece;
    this.#scanner.push(piece);
    return this.#take();
  }

  /** The rest, once no more comes. */
  end(): string {
    if (!this.#stopped) this.#scanner.end();
    return this.#take();
  }

  #part(end: number, found: SieveFinding | undefined): void {
    if (this.#stopped) return;
    const text = this.#held.slice(0, end - this.#start);
    this.#held = this.#held.slice(end - this.#start);
    this.#start = end;
    if (!found) this.#passed += text;
    else if (found.action === 'redact') {
      const { start, end: last } = trimmed(text, 0, text.length);
      this.#passed += text.slice(0, start) + placeholder(found.name) + text.slice(last);
    } else this.#stopped = found;
  }

  #take(): string {
    const passed = this.#passed;
    this.#passed = '';
    return passed;
  }
}

/** A part without the blanks around it, which are nobody's. */
function trimmed(text: string, start: number, end: number): { start: number; end: number } {
  const part = text.slice(start, end);
  const first = start + part.length - part.trimStart().length;
  return { start: first, end: Math.max(first, start + part.trimEnd().length) };
}
