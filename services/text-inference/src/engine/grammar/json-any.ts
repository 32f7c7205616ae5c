/** JSON values that no schema describes, down to a depth: a regular language can't count brackets without end. */

import type { AutomatonBuilder } from './automaton.ts';
import { addPlainNumber } from './json-number.ts';
import { addFreeString, addSeparator } from './json-text.ts';

/** Any scalar, and objects and arrays that hold others at most `depth` deep. */
export function addAnyValue(builder: AutomatonBuilder, from: number, depth: number): number {
  const end = addAnyScalar(builder, from);
  if (depth === 0) return end;
  builder.epsilon(addAnyMap(builder, from, depth), end);
  builder.epsilon(addAnyArray(builder, from, depth), end);
  return end;
}

/** Any object. @param depth how many objects and arrays may lie in one another, this one counted. */
export function addAnyMap(builder: AutomatonBuilder, from: number, depth: number): number {
  return addItems(builder, from, '{}', (at) => {
    const value = addSeparator(builder, addFreeString(builder, at), ':');
    return addAnyValue(builder, value, depth - 1);
  });
}

export function addAnyArray(builder: AutomatonBuilder, from: number, depth: number): number {
  return addItems(builder, from, '[]', (at) => addAnyValue(builder, at, depth - 1));
}

function addAnyScalar(builder: AutomatonBuilder, from: number): number {
  const adds = [
    (at: number) => addFreeString(builder, at),
    (at: number) => addPlainNumber(builder, at, false),
    ...['true', 'false', 'null'].map((word) => (at: number) => builder.text(at, word)),
  ];
  return builder.choice(from, adds, (add, at) => add(at));
}

/** Any number of items, none included; one copy of the item serves all. */
function addItems(
  builder: AutomatonBuilder,
  from: number,
  brackets: '{}' | '[]',
  add: (from: number) => number,
): number {
  const open = builder.text(from, brackets[0]!);
  const item = builder.state();
  builder.epsilon(open, item);
  const behind = add(item);
  builder.epsilon(addSeparator(builder, behind, ','), item);
  const close = builder.state();
  builder.epsilon(open, close);
  builder.epsilon(behind, close);
  return builder.text(close, brackets[1]!);
}
