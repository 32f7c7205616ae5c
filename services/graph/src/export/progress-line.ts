/** What a line is written to: a terminal's is written over, another gets one at each tenth. */
export interface Terminal {
  isTTY?: boolean;
  write(text: string): unknown;
}

/** One line that says how far a count is. */
export class ProgressLine {
  readonly #terminal: Terminal;
  #shown: string | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** @param done of `of`, from 0 */
  show(what: string, done: number, of: number): void {
    const percent = Math.floor((100 * done) / of);
    const text = `${what} ${this.#terminal.isTTY ? percent : percent - (percent % 10)} %`;
    if (text === this.#shown) return;
    this.#terminal.write(this.#terminal.isTTY ? `\r${text}` : `${text}\n`);
    this.#shown = text;
  }

  /** Clears the line of a terminal. */
  end(): void {
    if (this.#shown !== undefined && this.#terminal.isTTY) this.#terminal.write('\r\x1b[K');
    this.#shown = undefined;
  }
}
