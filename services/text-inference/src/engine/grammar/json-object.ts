/** Objects that a schema speaks of. */

import type { AutomatonBuilder } from './automaton.ts';
import { ANY, type CodePoints, single, union, without } from './code-points.ts';
import type { Located, Shape } from './json-shape.ts';
import { addJsonCharacter, addJsonSet, addSeparator } from './json-text.ts';

type AddValue = (schemas: readonly Located[], from: number) => number;

/**
 * The properties in order, optional ones there or not, then those without a name in the schema where it says what
 * they are. A property is built once, whether something stands before it or not.
 */
export function addObject(builder: AutomatonBuilder, shape: Shape, from: number, addValue: AddValue): number {
  const close = builder.state();
  /** Behind the properties so far: where there was none yet, and where there was one. */
  let none: number | undefined = builder.text(from, '{');
  let some: number | undefined;
  const enter = (): number => {
    const name = builder.state();
    if (none !== undefined) builder.epsilon(none, name);
    if (some !== undefined) builder.epsilon(addSeparator(builder, some, ','), name);
    return name;
  };
  for (const [name, schemas] of named(shape)) {
    const key = builder.text(enter(), JSON.stringify(name));
    const behind = builder.state();
    builder.epsilon(addValue(schemas, addSeparator(builder, key, ':')), behind);
    if (shape.required.has(name)) none = undefined;
    else if (some !== undefined) builder.epsilon(some, behind);
    some = behind;
  }
  if (none !== undefined) builder.epsilon(none, close);
  if (some !== undefined) builder.epsilon(some, close);
  if (shape.additional) {
    const name = enter();
    const key = addOtherName(builder, name, [...shape.properties.keys()]);
    const behind = addValue(shape.additional, addSeparator(builder, key, ':'));
    builder.epsilon(addSeparator(builder, behind, ','), name);
    builder.epsilon(behind, close);
  }
  return builder.text(close, '}');
}

/** Properties by name, those that are only required behind the others. */
function named({ properties, required, additional, path }: Shape): Map<string, readonly Located[]> {
  const all = new Map(properties);
  for (const name of required) {
    if (all.has(name)) continue;
    const unknown = { schema: additional !== false, path, references: [] };
    all.set(name, additional || [unknown]);
  }
  return all;
}

/** Any string but these, spelled as `JSON.stringify` does: a trie of the names, and every way out of it. */
function addOtherName(builder: AutomatonBuilder, from: number, names: readonly string[]): number {
  const end = builder.state();
  const free = builder.state();
  builder.range(free, 34, 34, end);
  const loop = builder.repeat(free, 0, Number.POSITIVE_INFINITY, (at) => addJsonCharacter(builder, at));
  builder.range(loop, 34, 34, end);
  const branch = (state: number, rest: readonly (readonly number[])[]): void => {
    builder.step();
    // Nothing is left of a name that ends here: the string may not end.
    if (rest.every((name) => name.length > 0)) builder.range(state, 34, 34, end);
    const longer = Map.groupBy(
      rest.filter((name) => name.length > 0),
      (name) => name[0]!,
    );
    const firsts: CodePoints = union(...[...longer.keys()].map(single));
    addJsonSet(builder, without(ANY, firsts), state, free);
    for (const [first, group] of longer) {
      const next = builder.state();
      addJsonSet(builder, single(first), state, next);
      branch(
        next,
        group.map((name) => name.slice(1)),
      );
    }
  };
  branch(
    builder.text(from, '"'),
    names.map((name) => [...name].map((c) => c.codePointAt(0)!)),
  );
  return end;
}
