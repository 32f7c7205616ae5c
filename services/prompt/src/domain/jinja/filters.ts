import type { Budget } from '../budget.ts';
import { compare, type Data, isList, isMap, items, json, number, text, truth, wrong } from './data.ts';

type Filter = (value: Data, args: readonly Data[], budget: Budget) => Data;
type Test = (value: Data) => boolean;

/** A filter of one text to another no longer than a few times it. */
const textual =
  (change: (value: string) => string): Filter =>
  (value, _args, budget) => {
    const given = text(value, budget);
    budget.charge(given.length);
    return change(given);
  };

const length: Filter = (value, _args, budget) => {
  if (isList(value)) return value.length;
  if (isMap(value)) return value.size;
  const given = text(value, budget);
  budget.charge(given.length);
  return [...given].length;
};

const join: Filter = (value, [separator = ''], budget) => {
  const between = text(separator, budget);
  const parts = items(value, budget).map((item) => {
    const one = text(item, budget);
    budget.charge(one.length + between.length + 1);
    return one;
  });
  return parts.join(between);
};

const replace: Filter = (value, [from = null, to = null], budget) => {
  const [whole, old, next] = [text(value, budget), text(from, budget), text(to, budget)];
  budget.charge(whole.length * (old.length > 16 ? old.length >> 4 : 1));
  const parts = whole.split(old);
  budget.charge(parts.length * (next.length + 1) + whole.length);
  return parts.join(next);
};

const indent: Filter = (value, [width = 4, first = false], budget) => {
  const by = Math.trunc(number(width, 'indent'));
  if (by < 0 || by > 100) throw wrong('indent takes 0 to 100 spaces');
  const lines = text(value, budget).split('\n');
  budget.charge(lines.reduce((sum, line) => sum + line.length + by, 0));
  return lines
    .map((line, i) => (line === '' || (i === 0 && !truth(first)) ? line : ' '.repeat(by) + line))
    .join('\n');
};

const sort: Filter = (value, [reverse = false], budget) => {
  const list = [...items(value, budget)];
  budget.charge(list.length);
  list.sort((a, b) => compare(a, b, budget));
  return truth(reverse) ? list.reverse() : list;
};

const unique: Filter = (value, _args, budget) => {
  const seen = new Map<string, Data>();
  for (const item of items(value, budget)) {
    const key = json(item, budget);
    if (!seen.has(key)) seen.set(key, item);
  }
  return [...seen.values()];
};

const reverse: Filter = (value, _args, budget) => {
  const list = items(value, budget);
  budget.charge(list.length);
  const turned = [...list].reverse();
  return typeof value === 'string' ? turned.join('') : turned;
};

const toNumber =
  (read: (value: number) => number): Filter =>
  (value, [other = 0], budget) => {
    const made = typeof value === 'number' ? value : Number(text(value, budget).trim() || Number.NaN);
    return Number.isFinite(made) ? read(made) : number(other, 'the default of a number');
  };

const round: Filter = (value, [digits = 0]) => {
  const scale = 10 ** Math.min(15, Math.max(0, Math.trunc(number(digits, 'round'))));
  const given = number(value, 'round');
  const scaled = Math.round(given * scale) / scale;
  return Number.isFinite(scaled) ? scaled : given;
};

const truncate: Filter = (value, [width = 255, , end = '...'], budget) => {
  const characters = [...text(value, budget)];
  const most = Math.max(0, Math.trunc(number(width, 'truncate')));
  budget.charge(characters.length);
  if (characters.length <= most) return characters.join('');
  const tail = text(end, budget);
  return characters.slice(0, Math.max(0, most - tail.length)).join('') + tail;
};

/** Filters with the most arguments that each takes. */
export const FILTERS: ReadonlyMap<string, readonly [filter: Filter, most: number]> = new Map<
  string,
  readonly [Filter, number]
>([
  ['upper', [textual((value) => value.toUpperCase()), 0]],
  ['lower', [textual((value) => value.toLowerCase()), 0]],
  ['capitalize', [textual((value) => value.slice(0, 1).toUpperCase() + value.slice(1).toLowerCase()), 0]],
  ['trim', [textual((value) => value.trim()), 0]],
  ['string', [textual((value) => value), 0]],
  ['length', [length, 0]],
  ['count', [length, 0]],
  ['join', [join, 1]],
  ['replace', [replace, 2]],
  ['indent', [indent, 2]],
  ['sort', [sort, 1]],
  ['unique', [unique, 0]],
  ['reverse', [reverse, 0]],
  ['list', [(value, _args, budget) => items(value, budget), 0]],
  ['first', [(value, _args, budget) => items(value, budget)[0] ?? null, 0]],
  ['last', [(value, _args, budget) => items(value, budget).at(-1) ?? null, 0]],
  [
    'default',
    [
      (value, [other = '', empty = false]) =>
        value === null || (truth(empty) && !truth(value)) ? other : value,
      2,
    ],
  ],
  ['int', [toNumber(Math.trunc), 1]],
  ['float', [toNumber((value) => value), 1]],
  ['abs', [(value) => Math.abs(number(value, 'abs')), 0]],
  ['round', [round, 1]],
  ['truncate', [truncate, 3]],
  [
    'tojson',
    [
      (value, [by = 0], budget) =>
        json(value, budget, Math.min(16, Math.max(0, Math.trunc(number(by, 'tojson'))))),
      1,
    ],
  ],
]);

/** `x is NAME`. */
export const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ['defined', (value) => value !== null],
  ['undefined', (value) => value === null],
  ['none', (value) => value === null],
  ['string', (value) => typeof value === 'string'],
  ['number', (value) => typeof value === 'number'],
  ['boolean', (value) => typeof value === 'boolean'],
  ['true', (value) => value === true],
  ['false', (value) => value === false],
  ['sequence', (value) => isList(value) || typeof value === 'string'],
  ['iterable', (value) => isList(value) || isMap(value) || typeof value === 'string'],
  ['mapping', isMap],
  ['odd', (value) => Math.abs(number(value, 'odd') % 2) === 1],
  ['even', (value) => number(value, 'even') % 2 === 0],
]);

/** Keyword arguments by their place. */
export const KEYWORDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['join', ['d']],
  ['replace', ['old', 'new']],
  ['indent', ['width', 'first']],
  ['sort', ['reverse']],
  ['default', ['default_value', 'boolean']],
  ['int', ['default']],
  ['float', ['default']],
  ['round', ['precision']],
  ['truncate', ['length', 'killwords', 'end']],
  ['tojson', ['indent']],
]);
