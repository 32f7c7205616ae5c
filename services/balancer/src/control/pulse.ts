/** Tells listeners that something has changed; what, they read for themselves. */
export class Pulse {
  readonly #listeners = new Set<() => void>();

  emit(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** Returns how to stop listening. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves at the next change, or when the signal fires. */
  next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const end = () => {
        forget();
        signal.removeEventListener('abort', end);
        resolve();
      };
      const forget = this.listen(end);
      signal.addEventListener('abort', end, { once: true });
    });
  }
}
