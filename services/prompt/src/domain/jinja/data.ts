import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { Budget } from '../budget.ts';
import { Picture } from '../template.ts';

/**
 * What expressions work with: texts, numbers, lists and maps of the template's own. Nothing of the host is among them, so
 * there is nothing to reach by any name. null is none and what is not there.
 */
export type Data = null | boolean | number | string | Picture | readonly Data[] | ReadonlyMap<string, Data>;

export const isList = (value: Data): value is readonly Data[] => Array.isArray(value);
export const isMap = (value: Data): value is ReadonlyMap<string, Data> => value instanceof Map;

export const wrong = (what: string) => invalidArgument('variables', what, { reason: 'TEMPLATE_FAILED' });

export function truth(value: Data): boolean {
  if (isList(value)) return value.length > 0;
  if (isMap(value)) return value.size > 0;
  return Boolean(value);
}

/** Deepest list or map that is written or compared. */
const DEEPEST = 32;

/** As it is put in: lists one a line (as in the simple form), maps as JSON. Charged before it is made. */
export function text(value: Data, budget: Budget): string {
  if (value === null) return '';
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || typeof value === 'number') return String(value);
  if (value instanceof Picture)
    throw wrong(`the picture '${value.variable}' can only be put in, and not be worked with`);
  if (isList(value)) {
    const made: string[] = [];
    for (const item of value) {
      const one = text(item, budget);
      budget.charge(one.length + 1);
      made.push(one);
    }
    return made.join('\n');
  }
  return json(value, budget);
}

/** JSON in Python's spacing, as Jinja's `tojson` writes it. @param indent spaces a level; 0 is one line */
export function json(value: Data, budget: Budget, indent = 0, depth = 0): string {
  if (depth > DEEPEST) throw wrong(`a value is nested more than ${DEEPEST} deep`);
  budget.charge(1);
  if (value instanceof Picture) throw wrong(`the picture '${value.variable}' can only be put in`);
  if (!isList(value) && !isMap(value)) {
    const made = JSON.stringify(value);
    budget.charge(made.length);
    return made;
  }
  const entries = isList(value)
    ? value.map((item) => json(item, budget, indent, depth + 1))
    : [...value].map(([key, item]) => `${JSON.stringify(key)}: ${json(item, budget, indent, depth + 1)}`);
  const [open, close] = isList(value) ? ['[', ']'] : ['{', '}'];
  const length = entries.reduce((sum, entry) => sum + entry.length + indent * (depth + 1) + 2, 0);
  budget.charge(length);
  if (indent === 0 || entries.length === 0) return `${open}${entries.join(', ')}${close}`;
  const pad = ' '.repeat(indent * (depth + 1));
  return `${open}\n${entries.map((entry) => pad + entry).join(',\n')}\n${' '.repeat(indent * depth)}${close}`;
}

/** Equality by value. */
export function equal(a: Data, b: Data, budget: Budget, depth = 0): boolean {
  if (depth > DEEPEST) throw wrong(`a value is nested more than ${DEEPEST} deep`);
  budget.charge(1);
  if (typeof a === 'string' && typeof b === 'string') budget.charge(Math.min(a.length, b.length) >> 4);
  if (isList(a) && isList(b)) {
    return a.length === b.length && a.every((item, i) => equal(item, b[i]!, budget, depth + 1));
  }
  if (isMap(a) && isMap(b)) {
    const same = ([key, item]: [string, Data]) => b.has(key) && equal(item, b.get(key)!, budget, depth + 1);
    return a.size === b.size && [...a].every(same);
  }
  return a === b;
}

/** Order of numbers and of texts. */
export function compare(a: Data, b: Data, budget: Budget): number {
  budget.charge(1);
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') {
    budget.charge(Math.min(a.length, b.length) >> 4);
    return a < b ? -1 : a > b ? 1 : 0;
  }
  throw wrong(`${kind(a)} and ${kind(b)} have no order`);
}

export function kind(value: Data): string {
  if (value === null) return 'nothing';
  if (value instanceof Picture) return 'a picture';
  if (isList(value)) return 'a list';
  return isMap(value) ? 'a map' : `a ${typeof value === 'string' ? 'text' : typeof value}`;
}

export function number(value: Data, what: string): number {
  if (typeof value !== 'number') throw wrong(`${what} needs a number, and not ${kind(value)}`);
  return value;
}

/** Items of a list, characters of a text, keys of a map. */
export function items(value: Data, budget: Budget): readonly Data[] {
  if (isList(value)) return value;
  if (value === null) return [];
  if (typeof value === 'string') {
    budget.charge(value.length);
    return [...value];
  }
  if (isMap(value)) {
    budget.charge(value.size);
    return [...value.keys()];
  }
  throw wrong(`${kind(value)} has no items`);
}
