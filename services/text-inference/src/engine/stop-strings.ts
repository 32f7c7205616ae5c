/**
 * Stop strings over streamed text. A stop string may cross any number of tokens, so text is held back for as long
 * as it could still be the beginning of one.
 */
export class StopStrings {
  #held = '';
  readonly #stops: readonly string[];

  /** @param stops the strings that end the text; they are not part of it. Empty ones are ignored. */
  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop.length > 0);
  }

  /** Takes the next piece and returns what may be shown of it; `stop` is the string that was met, if one was. */
  push(piece: string): { text: string; stop?: string } {
    if (this.#stops.length === 0) return { text: piece };
    const text = this.#held + piece;
    let at = -1;
    let met = '';
    for (const stop of this.#stops) {
      const index = text.indexOf(stop);
      // The earliest wins; of two at one place the longer.
      if (index >= 0 && (at < 0 || index < at || (index === at && stop.length > met.length))) {
        at = index;
        met = stop;
      }
    }
    if (at >= 0) {
      this.#held = '';
      return { text: text.slice(0, at), stop: met };
    }
    const hold = this.#stops.reduce((most, stop) => Math.max(most, overlap(text, stop)), 0);
    this.#held = text.slice(text.length - hold);
    return { text: text.slice(0, text.length - hold) };
  }

  /** What is still held back, once no more text comes. */
  flush(): string {
    const text = this.#held;
    this.#held = '';
    return text;
  }
}

/** Length of the longest end of `text` that is a beginning of `stop`, short of all of it. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(stop.length - 1, text.length); length > 0; length--) {
    if (stop.startsWith(text.slice(text.length - length))) return length;
  }
  return 0;
}
