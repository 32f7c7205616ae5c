/** Calls to another thread that are answered by number. */
export class PendingCalls<Value> {
  readonly #pending = new Map<number, { resolve: (value: Value) => void; reject: (error: Error) => void }>();
  #next = 1;

  /** Sends a call with a fresh number and waits for its answer. */
  call(send: (call: number) => void): Promise<Value> {
    const call = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(call, { resolve, reject });
      send(call);
    });
  }

  resolve(call: number, value: Value): void {
    this.#take(call)?.resolve(value);
  }

  reject(call: number, error: Error): void {
    this.#take(call)?.reject(error);
  }

  /** The thread is gone: nobody will answer. */
  rejectAll(error: Error): void {
    for (const call of [...this.#pending.keys()]) this.reject(call, error);
  }

  #take(call: number) {
    const entry = this.#pending.get(call);
    this.#pending.delete(call);
    return entry;
  }
}
