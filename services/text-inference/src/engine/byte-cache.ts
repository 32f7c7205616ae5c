/** Values by key within a bound of bytes; what was asked for the longest ago goes first. */
export class ByteCache<Value extends { byteLength: number }> {
  readonly #limit: number;
  /** In the order of their last use. */
  readonly #values = new Map<string, Value>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  get(key: string): Value | undefined {
    const value = this.#values.get(key);
    if (value) {
      this.#values.delete(key);
      this.#values.set(key, value);
    }
    return value;
  }

  set(key: string, value: Value): void {
    this.#bytes += value.byteLength - (this.#values.get(key)?.byteLength ?? 0);
    this.#values.delete(key);
    this.#values.set(key, value);
    for (const [oldest, { byteLength }] of this.#values) {
      if (this.#bytes <= this.#limit) return;
      this.#values.delete(oldest);
      this.#bytes -= byteLength;
    }
  }
}
