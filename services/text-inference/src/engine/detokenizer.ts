/**
 * Text from tokens as they come. One token may hold a part of a character (byte-level BPE cuts Chinese and emoji
 * anywhere), and some decoders treat the first token of a text differently, so a short window of tokens is decoded
 * again with each new one and only what is new and whole comes out.
 */

/** Decodes token ids [n] to text, an incomplete character at the end as U+FFFD. */
export type Decode = (tokens: number[]) => string;

const REPLACEMENT = '\ufffd';
/** After this many tokens the window is cut, where the text ends with a whole character. */
const WINDOW = 8;
/** A window of bytes that never become characters is cut all the same. */
const LONGEST_WINDOW = 64;

export class Detokenizer {
  readonly #decode: Decode;
  #window: number[] = [];
  /** The window as text, and how much of it was given out or belongs to the context. */
  #text = '';
  #shown = 0;

  /** @param context the prompt's last tokens, so that a decoder that strips leading blanks keeps ours. */
  constructor(decode: Decode, context: readonly number[] = []) {
    this.#decode = decode;
    this.#restart([...context]);
  }

  /** Takes the next token and returns the text that became certain with it, possibly none. */
  push(token: number): string {
    this.#window.push(token);
    this.#text = this.#decode(this.#window);
    const whole = !this.#text.endsWith(REPLACEMENT);
    const end = whole ? this.#text.length : this.#text.length - 1;
    const piece = end > this.#shown ? this.#text.slice(this.#shown, end) : '';
    this.#shown = Math.max(this.#shown, end);
    if ((whole && this.#window.length >= WINDOW) || this.#window.length >= LONGEST_WINDOW) {
      const rest = whole ? '' : this.#text.slice(this.#shown);
      this.#restart(this.#window.slice(-1));
      return piece + rest;
    }
    return piece;
  }

  /** What is left when no more tokens come: an unfinished character shows as U+FFFD. */
  flush(): string {
    const rest = this.#text.slice(this.#shown);
    this.#shown = this.#text.length;
    return rest;
  }

  #restart(context: number[]): void {
    this.#window = context;
    this.#text = context.length > 0 ? this.#decode(context) : '';
    this.#shown = this.#text.length;
  }
}
