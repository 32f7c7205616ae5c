import { Automaton } from './automaton.ts';
import { isHan, type Symbols, syllableOf, symbolsOf } from './symbols.ts';

/** A part of a text, in UTF-16 units. */
export interface Match {
  start: number;
  end: number;
  /** The entry that was found. */
  word: string;
}

export interface WordListOptions {
  /** Chinese words are found by their sound too: `读品` for `毒品`. Entries of one character are not. */
  homophones?: boolean;
}

interface Entry {
  word: string;
  codes: number[];
  /** Symbols before which the entry itself has a blank or a sign. */
  gaps: Set<number>;
}

/** Longest stretch of signs that parts the characters of one word. */
const MOST_BETWEEN = 4;
/** What ends a sentence parts words. */
const SENTENCE_END = /[。！？!?\n]/;

/**
 * Words that are found however they are written: in full width, in either case, with signs or blanks between their
 * characters, with digits and letters of other alphabets that look like theirs, and, for Chinese, by their sound.
 */
export class WordList {
  readonly #entries: readonly Entry[];
  readonly #byShape: Automaton;
  readonly #bySound: Automaton;

  constructor(words: readonly string[], { homophones = false }: WordListOptions = {}) {
    this.#entries = words.map(entryOf);
    this.#byShape = new Automaton(this.#entries.map(({ codes }) => codes));
    const sounds = this.#entries.map(({ codes }) =>
      homophones && codes.length > 1 && codes.every(isHan) ? codes.map(syllableOf) : [],
    );
    this.#bySound = new Automaton(sounds);
  }

  /** In order; matches may overlap. */
  find(text: string): Match[] {
    return this.look(text).matches;
  }

  /**
   * Finds the words that begin at a place or behind it, and says before which place no word can begin that is not found
   * yet, and no find can change. Takes time for the text behind `from` alone: a text that comes in parts is looked at
   * from where it was settled.
   */
  look(text: string, from = 0): { matches: Match[]; settled: number } {
    const symbols = symbolsOf(text, characterBefore(text, from));
    const matches: Match[] = [];
    const known = new Set<string>();
    const take = (entry: number, last: number) => {
      const match = this.#match(text, symbols, this.#entries[entry]!, last);
      // A word is found by its characters and by their sound.
      const key = `${last} ${entry}`;
      if (!match || match.start < from || known.has(key)) return;
      known.add(key);
      matches.push(match);
    };
    const shape = this.#byShape.run(symbols.codes, take);
    const sound = this.#bySound.isEmpty ? 0 : this.#bySound.run(symbols.codes.map(syllableOf), take);
    // A word in Latin letters ends only where another character follows.
    const open = Math.max(shape, sound, 1);
    const first = symbols.codes.length - open;
    const settled = symbols.codes.length === 0 ? text.length : symbols.starts[Math.max(0, first)]!;
    if (matches.length > 1) matches.sort((a, b) => a.start - b.start || b.end - a.end);
    return { matches, settled: Math.max(from, settled) };
  }

  #match(text: string, symbols: Symbols, entry: Entry, last: number): Match | undefined {
    const { codes, starts, ends } = symbols;
    const first = last - entry.codes.length + 1;
    const latin = (at: number) => codes[at] !== undefined && !isHan(codes[at]!);
    const joined = (at: number) => at > 0 && at < codes.length && starts[at] === ends[at - 1];
    // `class` does not hold the word that stands in it.
    if (latin(first) && latin(first - 1) && joined(first)) return undefined;
    if (latin(last) && latin(last + 1) && joined(last + 1)) return undefined;
    let extra = 0;
    let wanted = 0;
    for (let at = first + 1; at <= last; at++) {
      if (joined(at) || starts[at] === starts[at - 1]) continue;
      const between = text.slice(ends[at - 1], starts[at]);
      if (between.length > MOST_BETWEEN || SENTENCE_END.test(between)) return undefined;
      if (entry.gaps.has(at - first)) wanted++;
      else if (latin(at) || latin(at - 1)) extra++;
    }
    // Letters that stand apart are one word only where all of them do: `b a d`, not `has hit`.
    if (extra > 0 && extra + wanted < entry.codes.length - 1) return undefined;
    return { start: starts[first]!, end: ends[last]!, word: entry.word };
  }
}

/** Where the character before a place begins: it tells whether a word begins there. */
function characterBefore(text: string, at: number): number {
  const low = text.charCodeAt(at - 1);
  return Math.max(0, low >= 0xdc00 && low <= 0xdfff ? at - 2 : at - 1);
}

function entryOf(word: string): Entry {
  const { codes, starts, ends } = symbolsOf(word);
  const gaps = new Set<number>();
  for (let at = 1; at < codes.length; at++) if (starts[at]! > ends[at - 1]!) gaps.add(at);
  return { word, codes, gaps };
}
