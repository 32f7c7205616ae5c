/** Sets of code points as moves over the bytes of UTF-8. */

import { AutomatonBuilder } from './automaton.ts';
import type { CodePoints } from './code-points.ts';

/** Code points of one, two, three and four bytes; surrogates have none. */
const BORDERS: CodePoints = [
  [0, 0x7f],
  [0x80, 0x7ff],
  [0x800, 0xd7ff],
  [0xe000, 0xffff],
  [0x10000, 0x10ffff],
];

type ByteRange = readonly [low: number, high: number];

const parts = new WeakMap<CodePoints, AutomatonBuilder>();

/** Adds moves from one state to another on every code point of the set. */
export function addCodePoints(builder: AutomatonBuilder, set: CodePoints, from: number, to: number): void {
  let part = parts.get(set);
  if (!part) {
    part = characterPart(set);
    parts.set(set, part);
  }
  builder.insert(part, from, to);
}

/** A part from its state 0 to its state 1; what ends alike shares its states, so that it is the smallest there is. */
function characterPart(set: CodePoints): AutomatonBuilder {
  const part = new AutomatonBuilder();
  const [from, to] = [part.state(), part.state()];
  const shared = new Map<string, number>();
  /** Moves of the state from which these ends of characters lead to the end. */
  const moves = (ends: ByteRange[][]): [number, number, number][] => {
    const merged: [number, number, number][] = [];
    for (const [, group] of Map.groupBy(ends, ([first]) => first![0] * 256 + first![1])) {
      const [low, high] = group[0]![0]!;
      const target = group[0]!.length === 1 ? to : stateOf(group.map((bytes) => bytes.slice(1)));
      const last = merged.at(-1);
      if (last && last[1] === low - 1 && last[2] === target) last[1] = high;
      else merged.push([low, high, target]);
    }
    return merged;
  };
  const stateOf = (ends: ByteRange[][]): number => {
    const found = moves(ends);
    const key = found.join();
    let state = shared.get(key);
    if (state === undefined) {
      state = part.state();
      for (const [low, high, target] of found) part.range(state, low, high, target);
      shared.set(key, state);
    }
    return state;
  };
  const characters = set.flatMap(([low, high]) =>
    BORDERS.filter(([first, last]) => low <= last && high >= first).flatMap(([first, last]) => [
      ...sequences(Math.max(low, first), Math.min(high, last)),
    ]),
  );
  for (const [low, high, target] of moves(characters)) part.range(from, low, high, target);
  return part;
}

/**
 * Code points of equal length as products of byte ranges (as in Rust's regex-syntax, utf8). Two products begin with
 * the same range of bytes or with ranges that have no byte in common.
 */
function* sequences(low: number, high: number): Generator<ByteRange[]> {
  for (let bits = 6; bits < 24 && high > 0x7f; bits += 6) {
    const mask = (1 << bits) - 1;
    if ((low & ~mask) === (high & ~mask)) continue;
    if ((low & mask) !== 0) {
      yield* sequences(low, low | mask);
      yield* sequences((low | mask) + 1, high);
      return;
    }
    if ((high & mask) !== mask) {
      yield* sequences(low, (high & ~mask) - 1);
      yield* sequences(high & ~mask, high);
      return;
    }
  }
  const last = encode(high);
  yield encode(low).map((byte, i) => [byte, last[i]!]);
}

function encode(codePoint: number): number[] {
  return [...new TextEncoder().encode(String.fromCodePoint(codePoint))];
}
