import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { between, generator, testSeed } from '../../../../graph/test/random.ts';
import { type Filter, numberOf } from './filter.ts';
import { restoreIndex, saveIndex } from './saved-index.ts';
import { type Entry, VectorIndex } from './vector-index.ts';

const random = generator(testSeed('search index'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-index-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function unit(dimensions: number, around?: Float32Array): Float32Array {
  const values = Float32Array.from(
    { length: dimensions },
    (_, i) => (around?.[i] ?? 0) + 0.3 * (random() - 0.5),
  );
  const length = Math.hypot(...values);
  return values.map((value) => value / length);
}

const COLOURS = ['red', 'green', 'blue', '红'];
const metadataOf = () => ({
  colour: COLOURS[between(random, 0, 3)]!,
  price: ['9.90', '20', '100', '-5', '1e3', 'on request'][between(random, 0, 5)]!,
});

function randomFilter(depth = 0): Filter {
  const kind = between(random, 0, depth < 3 ? 3 : 1);
  if (kind === 0)
    return {
      kind: 'one_of',
      key: 'colour',
      values: COLOURS.slice(between(random, 0, 2), between(random, 2, 4)),
    };
  if (kind === 1) {
    const [low, high] = [between(random, -10, 100), between(random, 0, 1200)];
    return {
      kind: 'range',
      key: 'price',
      bounds: random() < 0.5 ? { gte: low, lt: high } : { gt: low, lte: high },
    };
  }
  const filters = Array.from({ length: between(random, 1, 3) }, () => randomFilter(depth + 1));
  return { kind: kind === 2 ? 'all' : 'any', filters };
}

/** The meaning of a filter, said once more. */
function lets(filter: Filter, metadata: Record<string, string>): boolean {
  if ('filters' in filter)
    return filter.filters[filter.kind === 'all' ? 'every' : 'some']((each) => lets(each, metadata));
  const value = metadata[filter.key]!;
  if (filter.kind === 'one_of') return filter.values.includes(value);
  const number = value === 'on request' ? Number.NaN : Number(value);
  const { gte, gt, lte, lt } = filter.bounds;
  return (
    !Number.isNaN(number) &&
    (gte === undefined || number >= gte) &&
    (gt === undefined || number > gt) &&
    (lte === undefined || number <= lte) &&
    (lt === undefined || number < lt)
  );
}

test('any course of puts, removals, saves and restores finds what looking at each finds, through any filter', () => {
  const dimensions = 12;
  let index = new VectorIndex(dimensions);
  const model = new Map<number, { vector: Float32Array; metadata: Record<string, string> }>();
  for (let label = 1, step = 0; step < 400; step++) {
    const what = random();
    if (what < 0.6) {
      const entry = { vector: unit(dimensions), metadata: metadataOf() };
      index.put([{ label, ...entry }]);
      model.set(label++, entry);
    } else if (what < 0.75) {
      const labels = [...model.keys()];
      const gone = labels[between(random, 0, labels.length)] ?? 999_999;
      index.remove(gone);
      model.delete(gone);
    } else if (what < 0.8) {
      saveIndex(index, join(folder, 'course'));
      const known = new Map([...model].map(([key, { metadata }]) => [key, metadata]));
      index = restoreIndex(join(folder, 'course'), dimensions, known)!;
    }
    const query = unit(dimensions);
    const filter = random() < 0.7 ? randomFilter() : undefined;
    const most = between(random, 1, 20);
    const expected = [...model]
      .filter(([, { metadata }]) => !filter || lets(filter, metadata))
      .map(([key, { vector }]) => ({
        label: key,
        score: vector.reduce((sum, x, i) => sum + x * query[i]!, 0),
      }))
      .sort((a, b) => b.score - a.score)
      .slice(0, most);
    const found = index.search(query, most, filter);
    expect(found.map((each) => each.label)).toEqual(expected.map((each) => each.label));
    for (const [i, { score }] of found.entries()) expect(score).toBeCloseTo(expected[i]!.score, 5);
    expect(index.size).toBe(model.size);
  }
});

test('among many the graph finds nearly all of the nearest, filtered or not, and never what was removed', () => {
  const dimensions = 12;
  const index = new VectorIndex(dimensions);
  const centres = Array.from({ length: 40 }, () => unit(dimensions));
  const near = () => unit(dimensions, centres[between(random, 0, 39)]!);
  const entries: Entry[] = [];
  for (let label = 1; label <= 3000; label++) {
    const metadata = { half: String(label % 2), rare: String(label % 200) };
    entries.push({ label, vector: near(), metadata });
  }
  index.put(entries);
  for (let label = 1; label <= 3000; label += 7) index.remove(label);
  const filters: (Filter | undefined)[] = [
    undefined,
    { kind: 'one_of', key: 'half', values: ['1'] },
    { kind: 'one_of', key: 'rare', values: ['5'] },
    { kind: 'range', key: 'rare', bounds: { lt: 120 } },
  ];
  for (const filter of filters) {
    let hits = 0;
    for (let i = 0; i < 30; i++) {
      const query = near();
      const passes = (label: number) =>
        label % 7 !== 1 && (!filter || lets(filter, { half: String(label % 2), rare: String(label % 200) }));
      const best = index.exact(query, 3000).filter(({ label }) => passes(label));
      const found = index.search(query, 10, filter);
      expect(found).toHaveLength(Math.min(10, best.length));
      for (const { label } of found) expect(passes(label)).toBe(true);
      const wanted = new Set(best.slice(0, 10).map(({ label }) => label));
      hits += found.filter(({ label }) => wanted.has(label)).length / wanted.size;
    }
    expect(hits / 30).toBeGreaterThan(0.97);
  }
});

test('a saved index that is not whole is not taken', () => {
  const path = join(folder, 'broken');
  const index = new VectorIndex(4);
  const known = new Map<number, Record<string, string>>();
  for (let label = 1; label <= 50; label++) {
    index.put([{ label, vector: unit(4), metadata: {} }]);
    known.set(label, {});
  }
  saveIndex(index, path);
  expect(restoreIndex(path, 4, known)?.size).toBe(50);
  expect(restoreIndex(path, 5, known)).toBeUndefined();
  expect(restoreIndex(join(folder, 'nothing'), 4, known)).toBeUndefined();
  for (const name of readdirSync(path)) {
    const whole = readFileSync(join(path, name));
    const flipped = Buffer.from(whole);
    flipped[between(random, 0, flipped.length - 1)]! ^= 1 << between(random, 0, 7);
    for (const wrong of [flipped, whole.subarray(0, between(random, 0, whole.length - 1))]) {
      writeFileSync(join(path, name), wrong);
      expect(restoreIndex(path, 4, known), name).toBeUndefined();
    }
    writeFileSync(join(path, name), whole);
  }
  expect(restoreIndex(path, 4, known)?.size).toBe(50);
});

test.each([
  ['199.90', 199.9],
  ['-3', -3],
  ['1e3', 1000],
  ['.5', 0.5],
  ['', undefined],
  [' 1', undefined],
  ['0x10', undefined],
  ['Infinity', undefined],
  ['1e999', undefined],
  ['12 kg', undefined],
])('%j as a number', (text, number) => {
  expect(numberOf(text)).toBe(number);
});
