import type { Budget } from '../budget.ts';
import { compare, type Data, equal, isList, isMap, items, kind, number, text, wrong } from './data.ts';

type Operator = (a: Data, b: Data, budget: Budget) => Data;

const finite = (value: number): number => {
  if (!Number.isFinite(value)) throw wrong('a calculation has no finite result');
  return value;
};
const arithmetic =
  (name: string, calculate: (a: number, b: number) => number): Operator =>
  (a, b) =>
    finite(calculate(number(a, name), number(b, name)));

function joined(a: string, b: string, budget: Budget): string {
  budget.charge(a.length + b.length);
  return a + b;
}

const add: Operator = (a, b, budget) => {
  if (typeof a === 'string' && typeof b === 'string') return joined(a, b, budget);
  if (isList(a) && isList(b)) {
    budget.charge(a.length + b.length);
    return [...a, ...b];
  }
  if (typeof a === 'number' && typeof b === 'number') return finite(a + b);
  throw wrong(
    `+ needs two numbers, two texts or two lists, and not ${kind(a)} and ${kind(b)}; ~ joins texts`,
  );
};

const times: Operator = (a, b, budget) => {
  const [value, count] = typeof a === 'number' ? [b, a] : [a, b];
  if (typeof value === 'string' && typeof count === 'number') {
    const often = Math.max(0, Math.trunc(count));
    budget.charge(often * value.length);
    return value.repeat(value === '' ? 0 : often);
  }
  return finite(number(a, '*') * number(b, '*'));
};

const contains: Operator = (a, b, budget) => {
  if (typeof b === 'string') {
    const part = text(a, budget);
    // The search compares at each place at the worst.
    budget.charge((b.length * Math.min(part.length, 64)) >> 4);
    return b.includes(part);
  }
  if (isMap(b)) return typeof a === 'string' && b.has(a);
  return items(b, budget).some((item) => equal(item, a, budget));
};

const divisor = (b: number): number => {
  if (b === 0) throw wrong('a division by zero');
  return b;
};

/** What two values make; `and` and `or` are not among them, since they need not read their second. */
export const OPERATORS: ReadonlyMap<string, Operator> = new Map<string, Operator>([
  ['+', add],
  ['*', times],
  ['~', (a, b, budget) => joined(text(a, budget), text(b, budget), budget)],
  ['-', arithmetic('-', (a, b) => a - b)],
  ['/', arithmetic('/', (a, b) => a / divisor(b))],
  ['//', arithmetic('//', (a, b) => Math.floor(a / divisor(b)))],
  // The sign is the divisor's, as in Python.
  ['%', arithmetic('%', (a, b) => ((a % divisor(b)) + b) % b)],
  ['**', arithmetic('**', (a, b) => a ** b)],
  ['==', (a, b, budget) => equal(a, b, budget)],
  ['!=', (a, b, budget) => !equal(a, b, budget)],
  ['<', (a, b, budget) => compare(a, b, budget) < 0],
  ['>', (a, b, budget) => compare(a, b, budget) > 0],
  ['<=', (a, b, budget) => compare(a, b, budget) <= 0],
  ['>=', (a, b, budget) => compare(a, b, budget) >= 0],
  ['in', contains],
  ['not in', (a, b, budget) => !contains(a, b, budget)],
]);
