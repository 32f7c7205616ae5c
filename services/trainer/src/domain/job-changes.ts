/** How long a watcher waits for a change that another process made and nobody here was told of, in milliseconds. */
const POLL_MS = 1000;

/** Tells watchers of a job within this process that it has changed. */
export class JobChanges {
  readonly #waiting = new Map<string, Set<() => void>>();

  /** Wakes everyone who waits for this job. */
  touch(jobId: string): void {
    for (const wake of this.#waiting.get(jobId) ?? []) wake();
  }

  /** Resolves at the next change, at the latest after a second, and at once when the signal fires. */
  next(jobId: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(jobId) ?? new Set();
      this.#waiting.set(jobId, waiting);
      const wake = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        waiting.delete(wake);
        if (waiting.size === 0) this.#waiting.delete(jobId);
        resolve();
      };
      const timer = setTimeout(wake, POLL_MS);
      signal.addEventListener('abort', wake, { once: true });
      waiting.add(wake);
      if (signal.aborted) wake();
    });
  }
}
