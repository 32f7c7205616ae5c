/** How long a watcher waits for a change that another process made and nobody here was told of, in milliseconds. */
const POLL_MS = 1000;

/** Tells watchers of things within this process that one has changed. */
export class Changes {
  readonly #waiting = new Map<string, Set<() => void>>();

  /** Wakes everyone who waits for this one. */
  touch(id: string): void {
    for (const wake of this.#waiting.get(id) ?? []) wake();
  }

  /** Resolves at the next change, at the latest after a second, and at once when the signal fires. */
  next(id: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(id) ?? new Set();
      this.#waiting.set(id, waiting);
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        waiting.delete(wake);
        if (waiting.size === 0) this.#waiting.delete(id);
        resolve();
      };
      const timer = setTimeout(wake, POLL_MS);
      signal.addEventListener('abort', wake, { once: true });
      waiting.add(wake);
      if (signal.aborted) wake();
    });
  }
}
