/** What the demo shows while it works; all of it on standard error, so that standard output ends with its result. */
export class Screen {
  readonly #out: NodeJS.WriteStream;
  #barShown = false;
  #lastPlainMs = 0;

  constructor(out: NodeJS.WriteStream = process.stderr) {
    this.#out = out;
  }

  /** The heading of a step. */
  step(index: number, total: number, title: string): void {
    this.line('');
    this.line(`[${index}/${total}] ${title}`);
  }

  line(text: string): void {
    if (this.#barShown) this.#out.write('\n');
    this.#barShown = false;
    this.#out.write(`${text}\n`);
  }

  /**
   * A progress bar on a terminal; elsewhere a line every two seconds.
   * @param share 0 to 1
   */
  bar(share: number, text: string): void {
    const width = 28;
    const filled = Math.round(Math.min(1, Math.max(0, share)) * width);
    const percent = `${Math.floor(share * 100)}`.padStart(3);
    const body = `  ${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${percent} %  ${text}`;
    if (this.#out.isTTY) {
      this.#out.write(`\r\x1b[2K${body.slice(0, this.#out.columns || 110)}`);
      this.#barShown = true;
      return;
    }
    const now = Date.now();
    if (now - this.#lastPlainMs < 2000 && share < 1) return;
    this.#lastPlainMs = now;
    this.#out.write(`${body}\n`);
  }
}

/** Seconds as people read them. */
export function duration(seconds: number): string {
  if (seconds < 0) return '?';
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
