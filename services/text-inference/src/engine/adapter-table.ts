/**
 * Which adapter is in which slot of the runner, and how many requests use it. An adapter in use stays where it is;
 * when all slots are taken, the idle one that was used longest ago makes room.
 */

interface Entry {
  slot: number;
  uses: number;
  /** Set when it goes with its last request: told whether it went. */
  retire?: ((gone: boolean) => void) | undefined;
}

/** All slots hold adapters that are in use. */
export class AdapterTableFullError extends Error {
  override name = 'AdapterTableFullError';
}

export class AdapterTable {
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();
  readonly #free: number[];
  readonly #clear: (slot: number) => void;

  /** @param slots usable slots, numbered from 1. @param clear empties a slot of the runner. */
  constructor(slots: number, clear: (slot: number) => void) {
    this.#free = Array.from({ length: slots }, (_, i) => slots - i);
    this.#clear = clear;
  }

  /** Adapters that take requests. */
  get keys(): string[] {
    return [...this.#entries.keys()].filter((key) => this.has(key));
  }

  has(key: string): boolean {
    const entry = this.#entries.get(key);
    return entry !== undefined && entry.retire === undefined;
  }

  /**
   * Fills a slot with a new adapter through `load`; on failure nothing is kept but an eviction. One that was about to
   * go stays.
   */
  async add(key: string, load: (slot: number) => Promise<void>): Promise<void> {
    const leaving = this.#entries.get(key);
    if (leaving) {
      leaving.retire?.(false);
      leaving.retire = undefined;
      return;
    }
    const slot = this.#takeSlot();
    try {
      await load(slot);
    } catch (error) {
      this.#clear(slot);
      this.#free.push(slot);
      throw error;
    }
    this.#entries.set(key, { slot, uses: 0 });
  }

  /** The slot of a loaded adapter, counted as in use until `release`; undefined when it is not there or leaving. */
  acquire(key: string): number | undefined {
    const entry = this.#entries.get(key);
    if (!entry || entry.retire) return undefined;
    entry.uses++;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.slot;
  }

  release(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    entry.uses--;
    if (entry.uses === 0 && entry.retire) {
      const done = entry.retire;
      this.#drop(key, entry);
      done(true);
    }
  }

  /** Drops an adapter once its last request has left; false when it was not there, or was asked for again. */
  async remove(key: string): Promise<boolean> {
    const entry = this.#entries.get(key);
    if (!entry) return false;
    if (entry.uses === 0) {
      this.#drop(key, entry);
      return true;
    }
    return new Promise((resolve) => {
      const before = entry.retire;
      entry.retire = (gone) => {
        before?.(gone);
        resolve(gone);
      };
    });
  }

  #takeSlot(): number {
    if (this.#free.length === 0) {
      const idle = [...this.#entries].find(([, entry]) => entry.uses === 0);
      if (!idle) throw new AdapterTableFullError(`all ${this.#entries.size} adapter slots are in use`);
      this.#drop(...idle);
    }
    return this.#free.pop()!;
  }

  #drop(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#clear(entry.slot);
    this.#free.push(entry.slot);
  }
}
