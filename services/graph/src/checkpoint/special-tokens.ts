/** A noncharacter that Unicode keeps for use inside a program. */
const MARK = '\ufdd0';

/** What transformers.js keeps to itself of a tokenizer. */
interface Internals {
  pre_tokenizer: ((text: string, options?: object) => string[]) | null;
  get_added_tokens_decoder(): Map<number, AddedToken>;
}

export interface AddedToken {
  content: string;
  special: boolean;
}

/** Special tokens of a tokenizer, and how a text is kept from spelling them. */
export interface SpecialTokens {
  contents: ReadonlySet<string>;
  /** A text made safe: nothing in it is read as a special token. For this tokenizer alone. */
  guard(text: string): string;
}

/**
 * Keeps what people write from being read as special tokens. transformers.js finds those anywhere in a text before it
 * splits it: `guard` breaks those that a text spells by a mark, which is taken out again between that search and the
 * model's own splitting.
 *
 * @param tokenizer of transformers.js; it is changed
 * @param isSpecial which added tokens count; without it those that say so
 */
export function guardSpecialTokens(
  tokenizer: object,
  isSpecial: (token: AddedToken) => boolean = ({ special }) => special,
): SpecialTokens {
  const inner = (tokenizer as { _tokenizer: Internals })._tokenizer;
  const split = inner.pre_tokenizer;
  inner.pre_tokenizer = (text, options) => {
    const plain = text.replaceAll(MARK, '');
    return split ? split(plain, options) : [plain];
  };
  const special = [...inner.get_added_tokens_decoder().values()].filter(isSpecial);
  const contents = new Set(special.map(({ content }) => content).filter((content) => content !== ''));
  const pattern = contents.size > 0 ? anyOf([...contents]) : undefined;
  const guard = (text: string) => {
    const clean = text.replaceAll(MARK, '');
    return pattern ? clean.replace(pattern, `$1${MARK}`) : clean;
  };
  return { contents, guard };
}

/** Finds the first character of each of these strings; a look-ahead, so that overlapping ones are found too. */
function anyOf(strings: string[]): RegExp {
  const longestFirst = strings.sort((a, b) => b.length - a.length).map((text) => RegExp.escape(text));
  return new RegExp(`(?=(?:${longestFirst.join('|')}))(.)`, 'gsu');
}
