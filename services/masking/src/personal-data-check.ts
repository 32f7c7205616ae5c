import { findAll, type PersonalDataType } from './mask.ts';
import type { CompiledRule } from './rules.ts';
import { openFrom, settledBefore } from './settled.ts';
import type { StreamCheck } from './stream-guard.ts';

/** Looks for personal data of some types, and for what a customer's rules describe, in a text that comes in parts. */
export function personalDataCheck(
  types: ReadonlySet<PersonalDataType>,
  rules: readonly CompiledRule[] = [],
): StreamCheck {
  return {
    look(text, from, ends) {
      const open = ends ? text.length : openFrom(text, types, rules);
      if (!ends && open <= from) return { found: [], settled: from };
      const found = findAll(text, types, rules, from);
      return { found, settled: ends ? open : settledBefore(text, found, open) };
    },
  };
}
