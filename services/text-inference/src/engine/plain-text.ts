/** A caller's text with its special tokens broken, so that nobody forges a turn or an image. */

import { PromptError } from './prompt.ts';

/** A noncharacter that Unicode keeps for use inside a program. */
export const MARK = '\ufdd0';

export class PlainText {
  readonly #anywhere: RegExp | undefined;
  readonly #whole: RegExp | undefined;

  /** @param special what a caller may not write as tokens */
  constructor(special: string[]) {
    this.#whole = alternatives(special);
    // A look-ahead finds overlapping ones too.
    this.#anywhere = this.#whole && new RegExp(`(?=(?:${this.#whole.source}))(.)`, 'gsu');
  }

  /**
   * The text with a mark inside every special token.
   * @param required refuse a text that has nothing but special tokens and blanks.
   * @throws PromptError
   */
  check(field: string, text: string, required = true): string {
    const bare = this.#whole ? text.replace(this.#whole, '') : text;
    if (required && bare.trim() === '') {
      throw new PromptError(field, text.trim() === '' ? 'is empty' : 'has nothing but special tokens');
    }
    const clean = text.replaceAll(MARK, '');
    return this.#anywhere ? clean.replace(this.#anywhere, `$1${MARK}`) : clean;
  }
}

export function forged(field: string): PromptError {
  return new PromptError(field, 'the text would be read as a special token of the model');
}

/** A regular expression that finds these strings, the longest first; undefined when there are none. */
export function alternatives(strings: string[]): RegExp | undefined {
  const sorted = strings.filter((s) => s.length > 0).sort((a, b) => b.length - a.length);
  return sorted.length > 0 ? new RegExp(sorted.map((s) => RegExp.escape(s)).join('|'), 'gu') : undefined;
}
