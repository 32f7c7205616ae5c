/**
 * An automaton over bytes, determinised as far as texts lead into it (the subset construction, made lazily as in
 * RE2). States that were made are kept; when they become too many they are forgotten and made again where needed.
 */

import type { Automaton } from './automaton.ts';
import { GrammarError } from './grammar-state.ts';

export interface DfaState {
  /** States of the automaton that it stands for, those with moves on a byte and the accepting one, in order. */
  readonly set: Int32Array;
  readonly accepting: boolean;
  /** By class of bytes; null leads nowhere, undefined has not been looked at. */
  readonly next: (DfaState | null | undefined)[];
  /** Kept by whoever computes it. */
  mask?: Int32Array | undefined;
}

/** Numbers kept in all states together, some 8 bytes each. */
const MOST_KEPT = 1 << 20;

export class Dfa {
  readonly #automaton: Automaton;
  /** Bytes that no move tells apart are of one class. */
  readonly classOf: Uint8Array;
  readonly #classes: number;
  /** The lowest byte of each class. */
  readonly #byteOf: number[];
  #known = new Map<number, DfaState[]>();
  #kept = 0;
  #start: DfaState | undefined;
  /** When each state of the automaton was last added to a set, and the number of that set. */
  readonly #added: Int32Array;
  #sets = 0;
  #work = 0;

  constructor(automaton: Automaton) {
    this.#automaton = automaton;
    this.#added = new Int32Array(automaton.epsilonStart.length - 1);
    const begins = new Uint8Array(257);
    begins[0] = 1;
    for (let i = 0; i < automaton.to.length; i++) {
      begins[automaton.low[i]!] = 1;
      begins[automaton.high[i]! + 1] = 1;
    }
    this.classOf = new Uint8Array(256);
    this.#byteOf = [];
    for (let byte = 0; byte < 256; byte++) {
      if (begins[byte]) this.#byteOf.push(byte);
      this.classOf[byte] = this.#byteOf.length - 1;
    }
    this.#classes = this.#byteOf.length;
  }

  /** From now on, at most so many moves of the automaton may be looked at before `step` throws. */
  allow(work: number): void {
    this.#work = work;
  }

  /** Numbers that its states keep now. */
  get kept(): number {
    return this.#kept;
  }

  get start(): DfaState {
    this.#start ??= this.#intern(this.#closure([this.#automaton.start]));
    return this.#start;
  }

  /** The state behind a class of bytes, null for none. @throws GrammarError when the allowed work is used up. */
  step(state: DfaState, byteClass: number): DfaState | null {
    const known = state.next[byteClass];
    if (known !== undefined) return known;
    const { edgeStart, low, high, to } = this.#automaton;
    const byte = this.#byteOf[byteClass]!;
    const reached: number[] = [];
    for (const from of state.set) {
      const end = edgeStart[from + 1]!;
      this.#work -= end - edgeStart[from]! + 1;
      for (let i = edgeStart[from]!; i < end; i++)
        if (low[i]! <= byte && byte <= high[i]!) reached.push(to[i]!);
    }
    const next = reached.length > 0 ? this.#intern(this.#closure(reached)) : null;
    if (this.#work < 0) throw new GrammarError('the constraint takes too much work to follow');
    state.next[byteClass] = next;
    return next;
  }

  /** What these states and their moves without a byte lead to, as far as it matters. */
  #closure(states: number[]): Int32Array {
    const { epsilonStart, epsilon, edgeStart, accept } = this.#automaton;
    const stamp = ++this.#sets;
    const open: number[] = [];
    const add = (state: number) => {
      if (this.#added[state] === stamp) return;
      this.#added[state] = stamp;
      open.push(state);
    };
    const set: number[] = [];
    for (const state of states) add(state);
    for (let state = open.pop(); state !== undefined; state = open.pop()) {
      if (state === accept || edgeStart[state + 1]! > edgeStart[state]!) set.push(state);
      const end = epsilonStart[state + 1]!;
      this.#work -= end - epsilonStart[state]! + 1;
      for (let i = epsilonStart[state]!; i < end; i++) add(epsilon[i]!);
    }
    return Int32Array.from(set).sort();
  }

  #intern(set: Int32Array): DfaState {
    let hash = 0;
    for (const state of set) hash = Math.imul(hash ^ state, 0x01000193);
    const bucket = this.#known.get(hash) ?? [];
    const same = bucket.find((s) => s.set.length === set.length && s.set.every((x, i) => x === set[i]));
    if (same) return same;
    if (this.#kept > MOST_KEPT) {
      this.#known = new Map();
      this.#kept = 0;
      this.#start = undefined;
      bucket.length = 0;
    }
    const accepting = set.includes(this.#automaton.accept);
    const state = { set, accepting, next: new Array<DfaState | null | undefined>(this.#classes) };
    bucket.push(state);
    this.#known.set(hash, bucket);
    this.#kept += set.length + this.#classes + 16;
    return state;
  }
}
