export interface PassLoopOptions {
  /** One pass. @returns when something is due without an event, in milliseconds since 1970; Infinity for nothing */
  pass: () => Promise<number>;
  /** Runs work outside of whatever call is being answered. */
  detached: (work: () => void) => void;
  /** A pass has failed and is made again after this time. */
  onFailure: (error: unknown, retryMs: number) => void;
  /** All passes that were asked for are done. */
  onIdle: () => void;
}

const RETRY_MS = 1000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Passes of a control loop, one at a time: whatever happens meanwhile only asks for another one. */
export class PassLoop {
  readonly #options: PassLoopOptions;
  #running: Promise<void> | undefined;
  #again = false;
  #halted = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PassLoopOptions) {
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  get isHalted(): boolean {
    return this.#halted;
  }

  /** Asks for a pass. */
  trigger(): void {
    if (this.#halted) return;
    this.#again = true;
    this.#options.detached(() => {
      this.#running ??= this.#loop();
    });
  }

  /** Makes no more passes; resolves when the one that runs is over. */
  async halt(): Promise<void> {
    this.#halted = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #loop(): Promise<void> {
    while (this.#again && !this.#halted) {
      this.#again = false;
      clearTimeout(this.#timer);
      try {
        this.#wakeAt(await this.#options.pass());
      } catch (error) {
        this.#options.onFailure(error, RETRY_MS);
        this.#wakeAt(Date.now() + RETRY_MS);
      }
    }
    this.#running = undefined;
    if (!this.#halted) this.#options.onIdle();
  }

  #wakeAt(ms: number): void {
    if (this.#halted || !Number.isFinite(ms)) return;
    this.#timer = setTimeout(() => this.trigger(), Math.min(Math.max(1, ms - Date.now()), LONGEST_TIMER_MS));
    this.#timer.unref();
  }
}
