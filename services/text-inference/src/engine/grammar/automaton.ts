/** Nondeterministic finite automata over bytes, as plain arrays that can cross a thread. */

import { ConstraintError } from './constraint.ts';

/** States 0 to n-1. Every state lies on a way from the start to the accepting state. */
export interface Automaton {
  start: number;
  accept: number;
  /** Where each state's moves without a byte begin in `epsilon` [n + 1]. */
  epsilonStart: Int32Array;
  epsilon: Int32Array;
  /** Where each state's moves on a byte begin in `low`, `high`, `to` [n + 1]. */
  edgeStart: Int32Array;
  low: Uint8Array;
  high: Uint8Array;
  to: Int32Array;
}

/** What keeps a compilation within some tens of milliseconds, and its automaton within a few MiB. */
const MOST_STATES = 32_768;
const MOST_EDGES = 98_304;
const MOST_STEPS = 250_000;

/** Grows an automaton from parts that each lead from a given state to a new one (Thompson 1968). */
export class AutomatonBuilder {
  readonly #epsilonFrom: number[] = [];
  readonly #epsilonTo: number[] = [];
  readonly #from: number[] = [];
  readonly #low: number[] = [];
  readonly #high: number[] = [];
  readonly #to: number[] = [];
  #states = 0;
  #steps = 0;

  state(): number {
    if (this.#states >= MOST_STATES) throw tooLarge(`more than ${MOST_STATES} states`);
    return this.#states++;
  }

  /** Counts a part that may add nothing, so that parts of parts of parts have an end. */
  step(): void {
    if (++this.#steps > MOST_STEPS) throw tooLarge(`more than ${MOST_STEPS} parts`);
  }

  epsilon(from: number, to: number): void {
    this.#countEdge();
    this.#epsilonFrom.push(from);
    this.#epsilonTo.push(to);
  }

  /** A move on any byte from `low` to `high`. */
  range(from: number, low: number, high: number, to: number): void {
    this.#countEdge();
    this.#from.push(from);
    this.#low.push(low);
    this.#high.push(high);
    this.#to.push(to);
  }

  /** A copy of a part that has no moves without a byte; its state 0 becomes `from` and its state 1 `to`. */
  insert(part: AutomatonBuilder, from: number, to: number): void {
    const numbers = [from, to];
    while (numbers.length < part.#states) numbers.push(this.state());
    for (let i = 0; i < part.#from.length; i++)
      this.range(numbers[part.#from[i]!]!, part.#low[i]!, part.#high[i]!, numbers[part.#to[i]!]!);
  }

  /** The bytes of a text, one after the other. @returns where they end. */
  text(from: number, text: string): number {
    let state = from;
    for (const byte of new TextEncoder().encode(text)) {
      const next = this.state();
      this.range(state, byte, byte, next);
      state = next;
    }
    return state;
  }

  /** One of several parts. @returns where all of them end. */
  choice<Part>(from: number, parts: Iterable<Part>, add: (part: Part, from: number) => number): number {
    const end = this.state();
    for (const part of parts) this.epsilon(add(part, from), end);
    return end;
  }

  /** A part `min` to `max` times, `max` possibly infinite. */
  repeat(from: number, min: number, max: number, add: (from: number) => number): number {
    let state = from;
    for (let i = 0; i < min; i++) state = add(state);
    if (max === Number.POSITIVE_INFINITY) {
      const loop = this.state();
      this.epsilon(state, loop);
      this.epsilon(add(loop), loop);
      return loop;
    }
    if (max === min) return state;
    const end = this.state();
    for (let i = min; i < max; i++) {
      this.epsilon(state, end);
      state = add(state);
    }
    this.epsilon(state, end);
    return end;
  }

  /** Without the states that lie on no way to the end. @throws ConstraintError when no way leads there. */
  finish(start: number, accept: number): Automaton {
    const forward = this.#reached(start, [this.#epsilonFrom, this.#from], [this.#epsilonTo, this.#to]);
    const backward = this.#reached(accept, [this.#epsilonTo, this.#to], [this.#epsilonFrom, this.#from]);
    const number = new Int32Array(this.#states).fill(-1);
    let states = 0;
    for (let s = 0; s < this.#states; s++) if (forward[s] && backward[s]) number[s] = states++;
    if (number[start] === -1) throw new ConstraintError('no text fulfils it');
    const epsilon = grouped(states, this.#epsilonFrom, this.#epsilonTo, number);
    const edges = grouped(states, this.#from, this.#to, number);
    return {
      start: number[start]!,
      accept: number[accept]!,
      epsilonStart: epsilon.start,
      epsilon: epsilon.order.map((i) => number[this.#epsilonTo[i]!]!),
      edgeStart: edges.start,
      low: Uint8Array.from(edges.order, (i) => this.#low[i]!),
      high: Uint8Array.from(edges.order, (i) => this.#high[i]!),
      to: edges.order.map((i) => number[this.#to[i]!]!),
    };
  }

  #countEdge(): void {
    if (this.#from.length + this.#epsilonFrom.length >= MOST_EDGES)
      throw tooLarge(`more than ${MOST_EDGES} moves`);
  }

  #reached(start: number, from: number[][], to: number[][]): Uint8Array {
    const all = Int32Array.from({ length: this.#states }, (_, s) => s);
    const moves = from.map((list, k) => grouped(this.#states, list, to[k]!, all));
    const reached = new Uint8Array(this.#states);
    const open = [start];
    reached[start] = 1;
    for (let state = open.pop(); state !== undefined; state = open.pop()) {
      for (const [k, { start: begin, order }] of moves.entries()) {
        for (let i = begin[state]!; i < begin[state + 1]!; i++) {
          const next = to[k]![order[i]!]!;
          if (reached[next]) continue;
          reached[next] = 1;
          open.push(next);
        }
      }
    }
    return reached;
  }
}

/** Moves between states that have a number of 0 or more, by the state that they leave: where each begins, and which. */
function grouped(
  states: number,
  from: number[],
  to: number[],
  number: Int32Array,
): { start: Int32Array; order: Int32Array } {
  const start = new Int32Array(states + 1);
  const kept = (i: number) => number[from[i]!]! >= 0 && number[to[i]!]! >= 0;
  for (let i = 0; i < from.length; i++) if (kept(i)) start[number[from[i]!]! + 1]!++;
  for (let s = 0; s < states; s++) start[s + 1]! += start[s]!;
  const next = start.slice();
  const order = new Int32Array(start[states]!);
  for (let i = 0; i < from.length; i++) if (kept(i)) order[next[number[from[i]!]!]!++] = i;
  return { start, order };
}

function tooLarge(what: string): ConstraintError {
  return new ConstraintError(`it is too large: ${what}`);
}
