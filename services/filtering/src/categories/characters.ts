/** What a UTF-16 unit is to whoever reads a text by its words. */
export const IGNORED = 0;
/** Parts words; nothing of its own. */
export const SEPARATOR = 1;
/** Ends a sentence at once. */
export const SENTENCE_END = 2;
/** A full stop: ends a sentence where a blank follows. */
export const FULL_STOP = 3;
export const BLANK = 4;
/** A letter or digit that makes words with those beside it. */
export const WORD = 5;
/** A Chinese character, kana, syllable or sign that stands for itself. */
export const SINGLE = 6;
export const HIGH_SURROGATE = 7;
export const LOW_SURROGATE = 8;

export interface CharacterTable {
  /** What each unit is. */
  readonly kinds: Uint8Array;
  /** The plainest unit that looks like it: small, half width, without accents, Latin where it passes for that. */
  readonly folded: Uint16Array;
}

/** Letters of other alphabets, by the Latin ones that they pass for. */
const LATIN_ALIKE: Readonly<Record<string, string>> = {
  ...{ а: 'a', α: 'a', ɑ: 'a', ь: 'b', в: 'b', с: 'c', ϲ: 'c', е: 'e', є: 'e', ε: 'e', н: 'h', һ: 'h' },
  ...{ і: 'i', ι: 'i', ı: 'i', к: 'k', κ: 'k', м: 'm', п: 'n', η: 'n', ո: 'n', о: 'o', ο: 'o', օ: 'o' },
  ...{ р: 'p', ρ: 'p', ѕ: 's', т: 't', τ: 't', υ: 'u', ν: 'v', х: 'x', χ: 'x', у: 'y', ү: 'y' },
};
const WORD_LETTER = /[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}\p{Nd}@$]/u;
const APOSTROPHES = "'’ʼ";
const SENTENCE_ENDS = '。！？!?｡…\n\r';
const UNITS = 0x10000;

let made: CharacterTable | undefined;

/** The table of all units: made once, when a text is read first. */
export function characterTable(): CharacterTable {
  made ??= make();
  return made;
}

function make(): CharacterTable {
  const kinds = new Uint8Array(UNITS);
  const folded = new Uint16Array(UNITS);
  for (let code = 0; code < UNITS; code++) {
    const written = String.fromCharCode(code);
    const plain = fold(written);
    folded[code] = plain.charCodeAt(0);
    kinds[code] = kindOf(code, written, plain);
  }
  return { kinds, folded };
}

function fold(written: string): string {
  const [first = written] = written.normalize('NFKC').toLowerCase().normalize('NFD');
  return LATIN_ALIKE[first] ?? first;
}

function kindOf(code: number, written: string, plain: string): number {
  if (code >= 0xd800 && code < 0xdc00) return HIGH_SURROGATE;
  if (code >= 0xdc00 && code < 0xe000) return LOW_SURROGATE;
  if (APOSTROPHES.includes(written) || /[\p{M}\p{Cf}]/u.test(written)) return IGNORED;
  if (SENTENCE_ENDS.includes(written)) return SENTENCE_END;
  if (plain === '.') return FULL_STOP;
  if (/\s/.test(written)) return BLANK;
  if (WORD_LETTER.test(plain)) return WORD;
  return /[\p{L}\p{N}]/u.test(plain) ? SINGLE : SEPARATOR;
}
