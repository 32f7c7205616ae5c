/** Strings that a schema speaks of. */

import type { AutomatonBuilder } from './automaton.ts';
import { ConstraintError } from './constraint.ts';
import { FORMATS } from './json-formats.ts';
import type { Shape } from './json-shape.ts';
import { addFreeString, addJsonCharacter, addJsonSet } from './json-text.ts';
import { parseRegex, type RegexAlternative } from './regex.ts';
import { addSearch } from './regex-automaton.ts';

/** @throws ConstraintError where pattern, format and lengths come together: only one of them is followed. */
export function addString(builder: AutomatonBuilder, shape: Shape, from: number): number {
  const { minLength, maxLength, path } = shape;
  const expressions = expressionsOf(shape);
  const counted = minLength > 0 || maxLength !== Number.POSITIVE_INFINITY;
  if (expressions.length > 1 || (expressions.length === 1 && counted))
    throw new ConstraintError(
      `${path}: pattern, format and lengths of one string are not supported together`,
    );
  if (expressions.length === 0 && !counted) return addFreeString(builder, from);
  const inside = builder.text(from, '"');
  const end = expressions[0]
    ? addSearch(builder, expressions[0], inside, (set, a, b) => addJsonSet(builder, set, a, b))
    : addCounted(builder, inside, minLength, maxLength);
  return builder.text(end, '"');
}

function addCounted(builder: AutomatonBuilder, from: number, min: number, max: number): number {
  // Where nothing fulfils it, nothing leads to the end.
  if (min > max) return builder.state();
  return builder.repeat(from, min, max, (at) => addJsonCharacter(builder, at));
}

function expressionsOf({ patterns, formats, path }: Shape): RegexAlternative[][] {
  const whole = formats.map((format) => {
    const pattern = FORMATS.get(format);
    if (pattern === undefined) throw new ConstraintError(`${path}/format: ${format} is not supported`);
    return parseRegex(pattern).map(({ node }) => ({ node, start: true, end: true }));
  });
  return [...whole, ...patterns.map((pattern) => parsed(pattern, path))];
}

function parsed(pattern: string, path: string): RegexAlternative[] {
  try {
    return parseRegex(pattern);
  } catch (error) {
    if (error instanceof ConstraintError) throw new ConstraintError(`${path}/pattern: ${error.message}`);
    throw error;
  }
}

/** Characters as JSON Schema counts them: code points. */
export function lengthOf(text: string): number {
  return [...text].length;
}
