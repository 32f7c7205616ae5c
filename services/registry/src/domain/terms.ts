/** Scripts without spaces between words. */
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}]/u;
const WORDS = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}]+|[\p{L}\p{N}\p{M}]+/gu;
const MAX_TERM_LENGTH = 64;
/** A shorter word would have half of the index begin with it. */
const MIN_PREFIX_LENGTH = 3;
/** More different words than any README.md that is worth reading has. */
const MAX_TERMS = 4000;

/** What must be in a version's index: a term itself, or one that begins with it. */
export type SearchTerm = { term: string; prefix: boolean };

/**
 * The words of texts to index them by: in lower case and compatibility form (NFKC); text in scripts without spaces
 * by its characters and pairs of characters, so that any part of it of two characters or more is found.
 */
export function indexTerms(texts: readonly string[]): string[] {
  const terms = new Set<string>();
  for (const text of texts) {
    for (const word of wordsOf(text)) {
      for (const term of UNSPACED.test(word) ? [...word, ...pairsOf(word)] : [cut(word)]) {
        if (terms.size >= MAX_TERMS) return [...terms];
        terms.add(term);
      }
    }
  }
  return [...terms];
}

/** What a search for a text asks the index for; all of it must be there. */
export function searchTerms(text: string): SearchTerm[] {
  const terms = wordsOf(text).flatMap((word): SearchTerm[] => {
    if (!UNSPACED.test(word)) return [{ term: cut(word), prefix: [...word].length >= MIN_PREFIX_LENGTH }];
    const pairs = pairsOf(word);
    return (pairs.length === 0 ? [word] : pairs).map((term) => ({ term, prefix: false }));
  });
  return [...new Map(terms.map((one) => [`${one.prefix} ${one.term}`, one])).values()];
}

function wordsOf(text: string): string[] {
  // A word may hold characters of both sorts side by side (LoRA微调): the pattern's order parts them.
  return (text.normalize('NFKC').toLowerCase().match(WORDS) ?? []).flatMap(partScripts);
}

function partScripts(word: string): string[] {
  const parts: string[] = [];
  let unspaced: boolean | undefined;
  for (const character of word) {
    const now = UNSPACED.test(character);
    if (now === unspaced) parts[parts.length - 1] += character;
    else parts.push(character);
    unspaced = now;
  }
  return parts;
}

function pairsOf(word: string): string[] {
  const characters = [...word];
  return characters.slice(1).map((character, index) => `${characters[index]}${character}`);
}

function cut(word: string): string {
  return word.slice(0, MAX_TERM_LENGTH);
}
