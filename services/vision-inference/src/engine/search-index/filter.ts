/** Which entries are looked at, by their metadata. */
export type Filter =
  | { kind: 'one_of'; key: string; values: string[] }
  | { kind: 'range'; key: string; bounds: Bounds }
  | { kind: 'all' | 'any'; filters: Filter[] };

export interface Bounds {
  gte?: number;
  gt?: number;
  lte?: number;
  lt?: number;
}

/** A value that reads as a decimal number as such; undefined for any other. */
export function numberOf(value: string): number | undefined {
  if (!/^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?$/i.test(value)) return undefined;
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}

export function within(
  { gte = -Infinity, gt = -Infinity, lte = Infinity, lt = Infinity }: Bounds,
  value: number,
): boolean {
  return value >= gte && value <= lte && (gt === -Infinity || value > gt) && (lt === Infinity || value < lt);
}
