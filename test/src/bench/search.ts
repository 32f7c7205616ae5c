import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Filter } from '@landfall/vision-inference/engine/search-index/filter.ts';
import { IndexThread } from '@landfall/vision-inference/engine/search-index/index-thread.ts';
import { exactSearch, MetricKind } from 'usearch';
import { lcg } from './random.ts';
import { median, type Report } from './report.ts';
import { Cluster } from './search-vectors.ts';

const NEAREST = 10;
/** Entries handed over at once, as the service does it. */
const PAGE = 500;
/** Of the exact search: a call of many queries reads the vectors into the library once. */
const EXACT_BATCH = 50;
const LEAST_RECALL = 0.98;
const MOST_OF_EXACT = 1 / 20;

/**
 * How much of what exact search finds the index of collections finds, and in which part of its time. Exact search is
 * that of the same library, with SIMD, on one thread, its queries in batches.
 */
export async function run(report: Report, args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      vectors: { type: 'string', default: '100000' },
      dimensions: { type: 'string', default: '512' },
      clusters: { type: 'string', default: '1000' },
      queries: { type: 'string', default: '500' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    },
  });
  const [count, dimensions, seed] = [Number(values.vectors), Number(values.dimensions), Number(values.seed)];
  const random = lcg(seed);
  process.stdout.write(
    `${count} vectors of ${dimensions} values in ${values.clusters} clusters; --seed ${seed}\n`,
  );
  const cluster = new Cluster(Number(values.clusters), dimensions, random);
  const vectors = cluster.vectors(count);
  const queries = cluster.vectors(Number(values.queries));
  const folder = mkdtempSync(join(tmpdir(), 'landfall-bench-search-'));
  const thread = await IndexThread.start();
  try {
    const index = new Measured(thread, folder, dimensions);
    report.figure('put', count / (await index.build(vectors, count)), 'entries/s');
    const exact = exactly(vectors, queries, dimensions);
    report.figure('exact.p50', exact.ms, 'ms');
    const all = await index.search(queries, undefined);
    report.figure('index.p50', all.ms, 'ms');
    const recall = recallOf(all.found, exact.found);
    report.figure('recall_at_10', recall, '');
    report.ratio('index_to_exact', all.ms, exact.ms, 'ms a search');
    for (const [name, share] of [
      ['half', 2],
      ['tenth', 10],
      ['hundredth', 100],
    ] as const) {
      const filtered = await index.search(queries, { kind: 'one_of', key: name, values: ['0'] });
      const passing = exactly(every(vectors, dimensions, share), queries, dimensions).found.map((keys) =>
        keys.map((key) => key * share),
      );
      report.figure(`${name}.p50`, filtered.ms, 'ms');
      report.figure(`${name}.recall_at_10`, recallOf(filtered.found, passing), '');
    }
    const { saveMs, openMs } = await index.saveAndOpen();
    report.figure('save', saveMs / 1000, 's');
    report.figure('open', openMs / 1000, 's');
    if (recall < LEAST_RECALL || all.ms > exact.ms * MOST_OF_EXACT) process.exitCode = 1;
    return { seed, vectors: count, dimensions };
  } finally {
    await thread.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The service's index, asked one search at a time through its thread. */
class Measured {
  readonly #thread: IndexThread;
  readonly #folder: string;
  readonly #dimensions: number;
  readonly #metadata: [number, Record<string, string>][] = [];

  constructor(thread: IndexThread, folder: string, dimensions: number) {
    this.#thread = thread;
    this.#folder = join(folder, 'index');
    this.#dimensions = dimensions;
  }

  /** @returns seconds */
  async build(vectors: Float32Array, count: number): Promise<number> {
    await this.#open([]);
    const start = performance.now();
    for (let from = 0; from < count; from += PAGE) {
      const entries = Array.from({ length: Math.min(PAGE, count - from) }, (_, i) => {
        const label = from + i;
        const metadata = { half: `${label % 2}`, tenth: `${label % 10}`, hundredth: `${label % 100}` };
        this.#metadata.push([label, metadata]);
        return { label, vector: rowOf(vectors, this.#dimensions, label), metadata };
      });
      await this.#thread.ask({ type: 'put', index: 'bench', entries });
      if (from % 10_000 === 0) process.stderr.write(`\r${from} of ${count} entries`);
    }
    process.stderr.write('\n');
    return (performance.now() - start) / 1000;
  }

  async search(
    queries: Float32Array,
    filter: Filter | undefined,
  ): Promise<{ found: number[][]; ms: number }> {
    const found: number[][] = [];
    const times: number[] = [];
    for (let q = 0; q < queries.length / this.#dimensions; q++) {
      const query = rowOf(queries, this.#dimensions, q);
      const start = performance.now();
      const nearest = await this.#thread.ask({
        type: 'search',
        index: 'bench',
        query,
        most: NEAREST,
        filter,
      });
      times.push(performance.now() - start);
      found.push(nearest.map(({ label }) => label));
    }
    return { found, ms: median(times) };
  }

  async saveAndOpen(): Promise<{ saveMs: number; openMs: number }> {
    const start = performance.now();
    await this.#thread.ask({ type: 'save', index: 'bench', folder: this.#folder });
    const saved = performance.now();
    const labels = await this.#open(this.#metadata);
    if (labels.length !== this.#metadata.length) throw new Error('the saved index was not taken');
    return { saveMs: saved - start, openMs: performance.now() - saved };
  }

  #open(entries: [number, Record<string, string>][]): Promise<Float64Array> {
    const [dimensions, folder] = [this.#dimensions, this.#folder];
    return this.#thread.ask({ type: 'open', index: 'bench', dimensions, folder, entries });
  }
}

/** Keys of the nearest of each query by looking at all, and how long a query takes. */
function exactly(
  vectors: Float32Array,
  queries: Float32Array,
  dimensions: number,
): { found: number[][]; ms: number } {
  const found: number[][] = [];
  const times: number[] = [];
  const size = EXACT_BATCH * dimensions;
  for (let from = 0; from < queries.length; from += size) {
    const batch = queries.slice(from, from + size);
    const rows = batch.length / dimensions;
    const start = performance.now();
    const matches = exactSearch(vectors, batch, dimensions, NEAREST, MetricKind.IP, 1);
    times.push((performance.now() - start) / rows);
    const keys = [...matches.keys].map(Number);
    for (let row = 0; row < rows; row++) found.push(keys.slice(row * NEAREST, (row + 1) * NEAREST));
  }
  return { found, ms: median(times) };
}

function recallOf(found: readonly number[][], exact: readonly number[][]): number {
  const hits = exact.map((keys, q) => {
    const got = new Set(found[q]);
    return keys.filter((key) => got.has(key)).length / keys.length;
  });
  return hits.reduce((sum, share) => sum + share, 0) / hits.length;
}

/** Every nth vector, from the first. */
function every(vectors: Float32Array, dimensions: number, nth: number): Float32Array {
  const count = Math.ceil(vectors.length / dimensions / nth);
  const kept = new Float32Array(count * dimensions);
  for (let i = 0; i < count; i++) kept.set(rowOf(vectors, dimensions, i * nth), i * dimensions);
  return kept;
}

const rowOf = (all: Float32Array, size: number, row: number) => all.slice(row * size, (row + 1) * size);
