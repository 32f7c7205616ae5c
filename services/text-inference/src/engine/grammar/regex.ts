/**
 * The regular expressions that outputs are held to: those of ECMAScript's `u` mode without what is not regular
 * (back-references, look-around) and without word borders. A repetition costs as many states as it counts.
 */

import {
  ANY,
  type CodePoints,
  complement,
  DIGIT,
  DOT,
  property,
  SPACE,
  single,
  union,
  WORD,
} from './code-points.ts';
import { ConstraintError } from './constraint.ts';

export type RegexNode =
  | { kind: 'set'; set: CodePoints }
  | { kind: 'sequence'; items: RegexNode[] }
  | { kind: 'choice'; options: RegexNode[] }
  | { kind: 'repeat'; item: RegexNode; min: number; max: number };

/** An alternative of the whole expression, and whether `^` and `$` hold it to the text's ends. */
export interface RegexAlternative {
  node: RegexNode;
  start: boolean;
  end: boolean;
}

const DEEPEST = 250;
const CONTROLS: Record<string, number> = { t: 9, n: 10, v: 11, f: 12, r: 13, '0': 0 };
const CLASSES: Record<string, CodePoints> = {
  d: DIGIT,
  D: complement(DIGIT),
  w: WORD,
  W: complement(WORD),
  s: SPACE,
  S: complement(SPACE),
};

/** @throws ConstraintError naming the position, in characters from 0. */
export function parseRegex(pattern: string): RegexAlternative[] {
  return new RegexParser(pattern).parse();
}

class RegexParser {
  readonly #text: string[];
  #at = 0;
  #depth = 0;

  constructor(pattern: string) {
    this.#text = [...pattern];
  }

  parse(): RegexAlternative[] {
    const alternatives: RegexAlternative[] = [];
    do {
      const start = this.#take('^');
      const node = this.#sequence();
      const end = this.#take('$');
      if (!this.#done && this.#peek !== '|') this.#fail('an anchor or bracket that stands in the middle');
      alternatives.push({ node, start, end });
    } while (this.#take('|'));
    return alternatives;
  }

  get #done(): boolean {
    return this.#at >= this.#text.length;
  }

  get #peek(): string | undefined {
    return this.#text[this.#at];
  }

  #take(text: string): boolean {
    if (!this.#text.slice(this.#at, this.#at + text.length).every((c, i) => c === text[i])) return false;
    if (this.#at + text.length > this.#text.length) return false;
    this.#at += text.length;
    return true;
  }

  #fail(what: string): never {
    throw new ConstraintError(`character ${this.#at}: ${what} is not supported`);
  }

  #choice(): RegexNode {
    const options: RegexNode[] = [];
    do options.push(this.#sequence());
    while (this.#take('|'));
    return options.length === 1 ? options[0]! : { kind: 'choice', options };
  }

  #sequence(): RegexNode {
    const items: RegexNode[] = [];
    while (!this.#done && !'|)$'.includes(this.#peek!)) items.push(this.#quantified());
    return items.length === 1 ? items[0]! : { kind: 'sequence', items };
  }

  #quantified(): RegexNode {
    const item = this.#atom();
    const bounds = this.#quantifier();
    if (!bounds) return item;
    // Lazy or greedy, the language is the same.
    this.#take('?');
    if (this.#quantifier() || (isEndless(bounds) && item.kind === 'repeat' && isEndless(item)))
      this.#fail('a repetition of a repetition');
    return { kind: 'repeat', item, ...bounds };
  }

  #quantifier(): { min: number; max: number } | undefined {
    const max = Number.POSITIVE_INFINITY;
    if (this.#take('*')) return { min: 0, max };
    if (this.#take('+')) return { min: 1, max };
    if (this.#take('?')) return { min: 0, max: 1 };
    if (this.#peek !== '{') return undefined;
    const found = /^\{(\d{1,9})(,(\d{1,9})?)?\}/.exec(this.#text.slice(this.#at, this.#at + 24).join(''));
    if (!found) return undefined;
    this.#at += found[0].length;
    const min = Number(found[1]);
    const bounds = { min, max: found[3] !== undefined ? Number(found[3]) : found[2] ? max : min };
    if (bounds.max < min) this.#fail('a repetition whose bounds are out of order');
    return bounds;
  }

  #atom(): RegexNode {
    if (this.#take('(')) return this.#group();
    if (this.#take('[')) return { kind: 'set', set: this.#class() };
    if (this.#take('.')) return { kind: 'set', set: DOT };
    if (this.#take('\\')) return { kind: 'set', set: this.#escape() };
    if ('*+?'.includes(this.#peek!)) this.#fail('a repetition of nothing');
    if (this.#peek === '^') this.#fail('an anchor that stands in the middle');
    return { kind: 'set', set: single(this.#text[this.#at++]!.codePointAt(0)!) };
  }

  #group(): RegexNode {
    if (++this.#depth > DEEPEST) this.#fail(`more than ${DEEPEST} groups in one another`);
    if (this.#take('?')) {
      const name = /^<[A-Za-z_]\w{0,63}>/.exec(this.#text.slice(this.#at, this.#at + 66).join(''));
      if (name) this.#at += name[0].length;
      else if (!this.#take(':')) this.#fail('look-around, or this kind of group');
    }
    const inner = this.#choice();
    if (!this.#take(')')) this.#fail(this.#done ? 'a group without its end' : 'an anchor inside a group');
    this.#depth--;
    return inner;
  }

  #class(): CodePoints {
    const negated = this.#take('^');
    const sets: CodePoints[] = [];
    while (!this.#take(']')) {
      if (this.#done) this.#fail('a class without its end');
      const low = this.#member();
      const ranged = this.#peek === '-' && this.#text[this.#at + 1] !== ']' && this.#take('-');
      if (!ranged) {
        sets.push(low);
        continue;
      }
      if (this.#done) this.#fail('a class without its end');
      const high = this.#member();
      const [from, to] = [low[0]?.[0], high[0]?.[0]];
      const single = (set: CodePoints) => set.length === 1 && set[0]![0] === set[0]![1];
      if (!single(low) || !single(high) || from! > to!) this.#fail('a range whose ends are out of order');
      sets.push([[from!, to!]]);
    }
    const all = union(...sets);
    return negated ? complement(all) : all;
  }

  #member(): CodePoints {
    if (!this.#take('\\')) return single(this.#text[this.#at++]!.codePointAt(0)!);
    if (this.#take('b')) return single(8);
    return this.#escape();
  }

  /** Behind a backslash. */
  #escape(): CodePoints {
    const char = this.#peek;
    if (char === undefined) this.#fail('a backslash at the end');
    this.#at++;
    if (Object.hasOwn(CLASSES, char)) return CLASSES[char]!;
    if (char === '0' && /\d/.test(this.#peek ?? '')) this.#fail('an octal escape');
    if (Object.hasOwn(CONTROLS, char)) return single(CONTROLS[char]!);
    if (char === 'x') return single(this.#hex(/^([0-9A-Fa-f]{2})/));
    if (char === 'u') return single(this.#hex(/^(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{4}))/));
    if (char === 'p' || char === 'P') return this.#property(char === 'P');
    if (/[A-Za-z0-9]/.test(char)) this.#fail(`the escape \\${char}`);
    return single(char.codePointAt(0)!);
  }

  #hex(form: RegExp): number {
    const found = form.exec(this.#text.slice(this.#at, this.#at + 8).join(''));
    const value = found ? Number.parseInt(found[1] ?? found[2]!, 16) : -1;
    if (value < 0 || value > ANY[0]![1] || (value >= 0xd800 && value <= 0xdfff))
      this.#fail('this escape of a character');
    this.#at += found![0].length;
    return value;
  }

  #property(negated: boolean): CodePoints {
    const found = /^\{([^}]{1,60})\}/.exec(this.#text.slice(this.#at, this.#at + 64).join(''));
    const set = found ? property(found[1]!) : undefined;
    if (!set) this.#fail('this Unicode property');
    this.#at += found![0].length;
    return negated ? complement(set) : set;
  }
}

/** One endless repetition says all that two in one another do; those who write two mean harm, or something else. */
const isEndless = ({ max }: { max: number }) => max === Number.POSITIVE_INFINITY;
