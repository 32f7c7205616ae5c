/** Regular expressions as parts of an automaton. */

import type { AutomatonBuilder } from './automaton.ts';
import { ANY, type CodePoints } from './code-points.ts';
import type { RegexAlternative, RegexNode } from './regex.ts';

/** Adds moves between two states on every code point of a set, in the spelling at hand: plain, or as JSON escapes it. */
export type AddSet = (set: CodePoints, from: number, to: number) => void;

/** @returns where the expression ends. */
export function addRegex(builder: AutomatonBuilder, node: RegexNode, from: number, addSet: AddSet): number {
  builder.step();
  switch (node.kind) {
    case 'set': {
      const to = builder.state();
      addSet(node.set, from, to);
      return to;
    }
    case 'sequence':
      return node.items.reduce((state, item) => addRegex(builder, item, state, addSet), from);
    case 'choice':
      return builder.choice(from, node.options, (option, start) => addRegex(builder, option, start, addSet));
    case 'repeat':
      return builder.repeat(from, node.min, node.max, (start) => addRegex(builder, node.item, start, addSet));
  }
}

/** An expression that is looked for anywhere in a text, where `^` and `$` don't hold it. */
export function addSearch(
  builder: AutomatonBuilder,
  alternatives: RegexAlternative[],
  from: number,
  addSet: AddSet,
): number {
  const anything: RegexNode = {
    kind: 'repeat',
    item: { kind: 'set', set: ANY },
    min: 0,
    max: Number.POSITIVE_INFINITY,
  };
  return builder.choice(from, alternatives, ({ node, start, end }, state) => {
    const items = [...(start ? [] : [anything]), node, ...(end ? [] : [anything])];
    return addRegex(builder, { kind: 'sequence', items }, state, addSet);
  });
}
