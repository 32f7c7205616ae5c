/** From a constraint to an automaton over the bytes of its texts. */

import { createHash } from 'node:crypto';
import { type Automaton, AutomatonBuilder } from './automaton.ts';
import { type Constraint, ConstraintError } from './constraint.ts';
import type { GrammarSpec } from './grammar-state.ts';
import { addAnyObject, addSchema } from './json-schema.ts';
import { parseRegex } from './regex.ts';
import { addRegex } from './regex-automaton.ts';
import { addCodePoints } from './utf8.ts';

/** @throws ConstraintError where it is no constraint, is not supported, or costs too much. */
export function compileConstraint(constraint: Constraint): GrammarSpec {
  const key = createHash('sha256').update(JSON.stringify(constraint)).digest('base64url');
  return { key, automaton: automatonOf(constraint) };
}

function automatonOf(constraint: Constraint): Automaton {
  const builder = new AutomatonBuilder();
  const start = builder.state();
  switch (constraint.kind) {
    case 'choice': {
      const end = builder.choice(start, constraint.options, (option, from) => builder.text(from, option));
      return builder.finish(start, end);
    }
    case 'regex': {
      // The whole output matches anyway: anchors change nothing.
      const end = builder.choice(start, parseRegex(constraint.pattern), ({ node }, from) =>
        addRegex(builder, node, from, (set, a, b) => addCodePoints(builder, set, a, b)),
      );
      return builder.finish(start, end);
    }
    case 'jsonObject':
      return builder.finish(start, addAnyObject(builder, start));
    case 'jsonSchema':
      return builder.finish(start, addSchema(builder, parsed(constraint.schema), start));
  }
}

function parsed(schema: string): unknown {
  try {
    return JSON.parse(schema);
  } catch (error) {
    throw new ConstraintError(`it is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const MOST_KEPT = 64;
/** States and moves of kept automata, some 10 bytes each. */
const MOST_SIZE = 4_000_000;

/** Compiled constraints by content, so that a schema that comes with every request costs once. */
export class CompiledConstraints {
  readonly #kept = new Map<string, GrammarSpec>();
  #size = 0;

  /** @throws ConstraintError */
  compile(constraint: Constraint): GrammarSpec {
    const content = JSON.stringify(constraint);
    const known = this.#kept.get(content);
    if (known) this.#kept.delete(content);
    const spec = known ?? compileConstraint(constraint);
    this.#kept.set(content, spec);
    if (!known) this.#size += sizeOf(spec);
    while (this.#kept.size > MOST_KEPT || (this.#size > MOST_SIZE && this.#kept.size > 1)) {
      const [oldest, { value }] = [this.#kept.keys().next().value!, this.#kept.values().next()];
      this.#size -= sizeOf(value!);
      this.#kept.delete(oldest);
    }
    return spec;
  }
}

function sizeOf({ automaton }: GrammarSpec): number {
  return automaton.epsilonStart.length + automaton.epsilon.length + automaton.to.length;
}
