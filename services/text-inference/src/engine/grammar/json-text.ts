/**
 * The spelling of JSON (RFC 8259): compact, with at most one space behind a comma and a colon. Strings whose content
 * counts are spelled as `JSON.stringify` does, so that each text has one spelling; free ones may escape anything.
 */

import { AutomatonBuilder } from './automaton.ts';
import { ANY, type CodePoints, complement, single, union, without } from './code-points.ts';
import { addCodePoints } from './utf8.ts';

const ESCAPES = new Map([
  [8, 'b'],
  [9, 't'],
  [10, 'n'],
  [12, 'f'],
  [13, 'r'],
  [34, '"'],
  [92, '\\'],
]);
const CONTROLS: CodePoints = [[0, 31]];
const ESCAPED = union(CONTROLS, single(34), single(92));
const PLAIN = complement(ESCAPED);
const HEX_RANGES = [
  [48, 57],
  [65, 70],
  [97, 102],
] as const;

const parts = new WeakMap<CodePoints, AutomatonBuilder>();

/** Adds moves on the characters of a set inside a string, as `JSON.stringify` spells them. */
export function addJsonSet(builder: AutomatonBuilder, set: CodePoints, from: number, to: number): void {
  let part = parts.get(set);
  if (!part) {
    part = characterPart(set);
    parts.set(set, part);
  }
  builder.insert(part, from, to);
}

/** A part from its state 0 to its state 1. */
function characterPart(set: CodePoints): AutomatonBuilder {
  const part = new AutomatonBuilder();
  const [from, to] = [part.state(), part.state()];
  addCodePoints(part, without(set, ESCAPED), from, to);
  const escaped = without(set, PLAIN).flatMap(([low, high]) =>
    Array.from({ length: high - low + 1 }, (_, i) => low + i),
  );
  if (escaped.length === 0) return part;
  const backslash = part.text(from, '\\');
  for (const code of escaped) {
    const short = ESCAPES.get(code)?.charCodeAt(0);
    if (short !== undefined) part.range(backslash, short, short, to);
  }
  const long = Map.groupBy(
    escaped.filter((code) => !ESCAPES.has(code)),
    (code) => code >> 4,
  );
  if (long.size === 0) return part;
  const zeros = part.text(backslash, 'u00');
  for (const [tens, codes] of long) {
    const last = part.text(zeros, String(tens));
    const digits = codes.map((code) => (code & 15).toString(16));
    const spelled = [...digits, ...digits.map((digit) => digit.toUpperCase())];
    for (const [low, high] of union(...spelled.map((char) => single(char.charCodeAt(0)))))
      part.range(last, low, high, to);
  }
  return part;
}

/** One character of a string, of any kind. */
export function addJsonCharacter(builder: AutomatonBuilder, from: number): number {
  const to = builder.state();
  addJsonSet(builder, ANY, from, to);
  return to;
}

/** Any string, with every escape that RFC 8259 has; half a surrogate pair is none. */
export function addFreeString(builder: AutomatonBuilder, from: number): number {
  const inside = builder.text(from, '"');
  addFreeCharacters(builder, inside);
  return builder.text(inside, '"');
}

function addFreeCharacters(builder: AutomatonBuilder, inside: number): void {
  addCodePoints(builder, PLAIN, inside, inside);
  const backslash = builder.text(inside, '\\');
  for (const char of '"\\/bfnrt') builder.range(backslash, char.charCodeAt(0), char.charCodeAt(0), inside);
  const unit = builder.text(backslash, 'u');
  // 0xxx to cxxx, e and f; d0 to d7; d8 to db with dc to df behind it.
  const three = builder.state();
  hex(builder, unit, 0, 12, three);
  hex(builder, unit, 14, 15, three);
  const two = builder.state();
  hex(builder, three, 0, 15, two);
  const surrogate = builder.state();
  hex(builder, unit, 13, 13, surrogate);
  hex(builder, surrogate, 0, 7, two);
  const one = builder.state();
  hex(builder, two, 0, 15, one);
  hex(builder, one, 0, 15, inside);
  const high = builder.state();
  hex(builder, surrogate, 8, 11, high);
  const highEnd = builder.state();
  const highLast = builder.state();
  hex(builder, high, 0, 15, highLast);
  hex(builder, highLast, 0, 15, highEnd);
  const low = builder.text(highEnd, '\\u');
  const lowNext = builder.state();
  hex(builder, low, 13, 13, lowNext);
  hex(builder, lowNext, 12, 15, two);
}

/** Moves on the hexadecimal digits of these values. */
function hex(builder: AutomatonBuilder, from: number, low: number, high: number, to: number): void {
  for (const [first, last] of HEX_RANGES) {
    const offset = first === 48 ? 0 : 10;
    const a = Math.max(first, first + low - offset);
    const b = Math.min(last, first + high - offset);
    if (a <= b) builder.range(from, a, b, to);
  }
}

/** A comma or colon and perhaps a space. */
export function addSeparator(builder: AutomatonBuilder, from: number, char: ',' | ':'): number {
  const behind = builder.text(from, char);
  const end = builder.state();
  builder.epsilon(behind, end);
  builder.range(behind, 32, 32, end);
  return end;
}

/** Items between brackets and commas: `add` says what the one at an index is. */
export function addList<Item>(
  builder: AutomatonBuilder,
  from: number,
  brackets: '[]' | '{}',
  items: readonly Item[],
  add: (item: Item, from: number) => number,
): number {
  let state = builder.text(from, brackets[0]!);
  for (const [i, item] of items.entries())
    state = add(item, i > 0 ? addSeparator(builder, state, ',') : state);
  return builder.text(state, brackets[1]!);
}

/** One value and no other. */
export function addLiteral(builder: AutomatonBuilder, value: unknown, from: number): number {
  builder.step();
  if (Array.isArray(value))
    return addList(builder, from, '[]', value, (item, at) => addLiteral(builder, item, at));
  if (typeof value !== 'object' || value === null) return builder.text(from, JSON.stringify(value));
  return addList(builder, from, '{}', Object.entries(value), ([name, item], at) =>
    addLiteral(builder, item, addSeparator(builder, builder.text(at, JSON.stringify(name)), ':')),
  );
}
