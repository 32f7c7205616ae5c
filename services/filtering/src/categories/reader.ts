import {
  BLANK,
  characterTable,
  FULL_STOP,
  HIGH_SURROGATE,
  IGNORED,
  LOW_SURROGATE,
  SENTENCE_END,
  SINGLE,
  WORD,
} from './characters.ts';

/** Characters that count as one Chinese one, in length: a word says about twice as much. */
const WORD_LENGTH = 2;
/** Longer words are read as several. */
const LONGEST_WORD = 32;
/** Most signs between letters of a word that is spelled (`k i l l`, `b - o - m - b`). */
const WIDEST_SPELLING = 3;
/** Letters apart that are read as one word. */
const FEWEST_SPELLED = 3;
/** Length behind which a long sentence is parted. */
const LONGEST_PART = 24;
/** Characters behind which anything is parted: signs alone make no words. */
const MOST_CHARACTERS = 512;
/** A word's n-grams of letters. */
const GRAM = 4;
const STEM = 5;

const [SEED_UNIT, SEED_PAIR, SEED_SKIP, SEED_TRIPLE, SEED_STEM, SEED_GRAM] = [
  0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f, 0x165667b1, 0xd3a2646c,
];
const NUMBER = 0x30303030;
const NO_UNIT = 0x5bd1e995;
/** Digits and signs that pass for letters within a word. */
const LEET: Readonly<Record<string, string>> = {
  ...{ '0': 'o', '1': 'i', '3': 'e', '4': 'a', '5': 's', '7': 't', '8': 'b', '@': 'a', $: 's' },
};
const LEET_CODES = new Uint16Array(128);
for (let code = 0; code < 128; code++)
  LEET_CODES[code] = (LEET[String.fromCharCode(code)] ?? String.fromCharCode(code)).charCodeAt(0);

/** What reads along. */
export interface UnitSink {
  /** A word or a character. Its features are `features[0..count)`, unsigned 32-bit hashes. */
  unit(features: Uint32Array, count: number, length: number): void;
  /** A part ends before this place of all that was read: a sentence, or what is long of one. */
  part(end: number, sentence: boolean): void;
}

/**
 * Reads a text, however it comes in pieces, as units: Chinese characters and words of letters, in their plainest form,
 * each with features of itself and of the two before it. Blanks and signs between characters change nothing, and letters
 * apart are one word. Takes the same time for each character.
 */
export class UnitReader {
  readonly #sink: UnitSink;
  readonly #kinds: Uint8Array;
  readonly #folded: Uint16Array;
  readonly #features = new Uint32Array(LONGEST_WORD + 8);
  readonly #word = new Uint16Array(LONGEST_WORD);
  #wordLength = 0;
  #wordStart = 0;
  /** Place behind the word's last letter. */
  #wordEnd = 0;
  /** Letters that stood alone, which may be a word that is spelled. */
  readonly #spelled = new Uint16Array(LONGEST_WORD);
  #spelledLength = 0;
  #spelledEnd = 0;
  #spelledGap = 0;
  #previous = NO_UNIT;
  #beforePrevious = NO_UNIT;
  #high = 0;
  #at = 0;
  #partStart = 0;
  #partLength = 0;
  #afterStop = false;

  constructor(sink: UnitSink) {
    this.#sink = sink;
    ({ kinds: this.#kinds, folded: this.#folded } = characterTable());
  }

  push(text: string): void {
    const kinds = this.#kinds;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      const kind = kinds[code]!;
      if (kind === WORD) {
        if (this.#wordLength === LONGEST_WORD) this.#endWord();
        if (this.#wordLength === 0) this.#wordStart = this.#at;
        this.#word[this.#wordLength++] = this.#folded[code]!;
        this.#wordEnd = ++this.#at;
        this.#afterStop = false;
        continue;
      }
      this.#at++;
      if (kind !== IGNORED) this.#other(kind, code);
      if (this.#at - this.#partStart >= MOST_CHARACTERS && kind !== HIGH_SURROGATE) {
        this.#flush();
        this.#part(this.#at, false);
      }
    }
  }

  /** No more comes. */
  end(): void {
    this.#flush();
    if (this.#at > this.#partStart) this.#part(this.#at, true);
  }

  #other(kind: number, code: number): void {
    this.#endWord();
    const ended = kind === SENTENCE_END || (kind === BLANK && this.#afterStop);
    this.#afterStop = kind === FULL_STOP;
    if (kind === SINGLE) this.#single(this.#folded[code]!);
    else if (kind === HIGH_SURROGATE) this.#high = code;
    else if (kind === LOW_SURROGATE) this.#single((this.#high << 16) | code);
    else if (ended) {
      this.#endSpelled();
      this.#part(this.#at, true);
    }
  }

  #flush(): void {
    this.#endWord();
    this.#endSpelled();
  }

  #endWord(): void {
    const length = this.#wordLength;
    if (length === 0) return;
    this.#wordLength = 0;
    const gap = this.#wordStart - this.#spelledEnd;
    const letter = this.#word[0]!;
    if (this.#spelledLength > 0) {
      const goesOn = length === 1 && gap <= (this.#spelledGap || WIDEST_SPELLING);
      if (!goesOn || this.#spelledLength === LONGEST_WORD) this.#endSpelled();
    }
    if (length === 1) {
      this.#spelledGap = this.#spelledLength === 0 ? 0 : gap;
      this.#spelled[this.#spelledLength++] = letter;
      this.#spelledEnd = this.#wordEnd;
    } else this.#emitWord(this.#word, length, this.#wordEnd);
  }

  #endSpelled(): void {
    const length = this.#spelledLength;
    if (length === 0) return;
    this.#spelledLength = 0;
    if (length >= FEWEST_SPELLED) this.#emitWord(this.#spelled, length, this.#spelledEnd);
    else
      for (let i = 0; i < length; i++) this.#emitWord(this.#spelled.subarray(i, i + 1), 1, this.#spelledEnd);
  }

  #single(code: number): void {
    this.#endSpelled();
    this.#emit(mix(code, SEED_UNIT), 0, 1, this.#at);
  }

  #emitWord(letters: Uint16Array, length: number, end: number): void {
    let digits = 0;
    for (let i = 0; i < length; i++) if (letters[i]! >= 48 && letters[i]! <= 57) digits++;
    if (digits === length) {
      this.#emit(NUMBER, 0, WORD_LENGTH, end);
      return;
    }
    const features = this.#features;
    let count = 4;
    let hash = SEED_UNIT;
    // The letters before, eight bits each, with the word's border before the first.
    let gram = 0x3c;
    for (let i = 0; i < length; i++) {
      const letter = letters[i]! < 128 ? LEET_CODES[letters[i]!]! : letters[i]!;
      hash = mix(letter, hash);
      gram = (gram << 8) | (letter & 0xff);
      if (i + 2 >= GRAM && i > 1) features[count++] = mix(gram, SEED_GRAM);
      if (i === STEM - 1 && length > STEM) features[count++] = mix(hash, SEED_STEM);
    }
    if (length > 2) features[count++] = mix((gram << 8) | 0x3e, SEED_GRAM);
    this.#emit(hash, count - 4, WORD_LENGTH, end);
  }

  /** @param more features that stand in their place already */
  #emit(hash: number, more: number, length: number, end: number): void {
    const features = this.#features;
    const [one, two] = [this.#previous, this.#beforePrevious];
    features[0] = hash;
    features[1] = mix(hash, mix(one, SEED_PAIR));
    features[2] = mix(hash, mix(two, SEED_SKIP));
    features[3] = mix(hash, mix(one, mix(two, SEED_TRIPLE)));
    this.#beforePrevious = one;
    this.#previous = hash;
    this.#sink.unit(features, 4 + more, length);
    this.#partLength += length;
    if (this.#partLength >= LONGEST_PART) this.#part(end, false);
  }

  #part(end: number, sentence: boolean): void {
    if (end > this.#partStart) {
      this.#sink.part(end, sentence);
      this.#partStart = end;
    }
    this.#partLength = 0;
  }
}

/** One round of MurmurHash3 (Appleby). */
function mix(value: number, hash: number): number {
  let k = Math.imul(value, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  let h = hash ^ Math.imul(k, 0x1b873593);
  h = (h << 13) | (h >>> 19);
  h = Math.imul(h, 5) + 0xe6546b64;
  return (h ^ (h >>> 15)) | 0;
}
