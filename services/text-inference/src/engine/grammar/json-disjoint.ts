/** Whether two schemas can be seen to have no value in common, which oneOf needs. */

import { type JsonType, type Located, type Shape, sameJson } from './json-shape.ts';

/** Says how many ways there are to fulfil all of some schemas at once. */
export interface Alternatives {
  alternatives(schemas: readonly Located[]): Shape[];
}

const DEEPEST = 4;

/** True only where it is certain: types apart, different literals, or a required property that tells them apart. */
export function disjoint(a: Shape, b: Shape, reader: Alternatives, depth = 0): boolean {
  if (a.literals && b.literals) return !a.literals.some((x) => b.literals!.some((y) => sameJson(x, y)));
  if (a.literals) return a.literals.every((x) => !b.types.has(typeOf(x)));
  if (b.literals) return disjoint(b, a, reader, depth);
  const types = a.types.intersection(b.types);
  const numbers = types.has('integer') && (a.max < b.min || b.max < a.min);
  for (const type of types) {
    if (type === 'object' && objectsApart(a, b, reader, depth)) continue;
    if ((type === 'integer' || type === 'number') && numbers) continue;
    return false;
  }
  return true;
}

function objectsApart(a: Shape, b: Shape, reader: Alternatives, depth: number): boolean {
  if (depth >= DEEPEST) return false;
  for (const name of a.required.union(b.required)) {
    const inA = a.properties.get(name);
    const inB = b.properties.get(name);
    if (a.required.has(name) && !inB && b.additional === false) return true;
    if (b.required.has(name) && !inA && a.additional === false) return true;
    if (!inA || !inB || !a.required.has(name) || !b.required.has(name)) continue;
    const [left, right] = [reader.alternatives(inA), reader.alternatives(inB)];
    if (left.every((x) => right.every((y) => disjoint(x, y, reader, depth + 1)))) return true;
  }
  return false;
}

export function typeOf(value: unknown): JsonType {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value as 'boolean' | 'string' | 'object';
}
