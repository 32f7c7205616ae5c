import { Index, MetricKind, ScalarKind } from 'usearch';
import type { Filter } from './filter.ts';
import { MetadataIndex } from './metadata-index.ts';
import { type Found, Nearest } from './nearest.ts';
import { Rows } from './rows.ts';

/** Entry of an index: a label that is never given twice, a vector of length 1, and what is filtered by. */
export interface Entry {
  label: number;
  vector: Float32Array;
  metadata: Readonly<Record<string, string>>;
}

/** Links of a node, and how many candidates are looked at when one is put and when one is looked for (Malkov 2016). */
const CONNECTIVITY = 16;
const EXPANSION_ADD = 128;
const EXPANSION_SEARCH = 40;
/** So many, or this share of all, are compared one by one: that is exact, and no slower than the graph. */
const FEW = 1000;
const FEW_SHARE = 0.02;
/** Looked for beside what is wanted: the graph knows vectors of 16 bits, and their order is settled here in 32. */
const SPARE = 16;
/** Of what would just do so many times are asked for: behind a filter what is wanted lies farther off, where the graph misses more. */
const MARGIN = 1.5;
const FILTERED_MARGIN = 4;

/**
 * Entries by likeness: a graph of near neighbours (HNSW) over vectors of 16 bits, the vectors themselves, and their
 * metadata. A filter is part of the search: the graph is asked for so many that enough of them pass, and where few
 * entries pass at all, just these are compared.
 */
export class VectorIndex {
  readonly dimensions: number;
  #graph: Index;
  readonly #rows: Rows;
  readonly #rowOf = new Map<number, number>();
  readonly #labelOf: number[] = [];
  readonly #metadataOf: Readonly<Record<string, string>>[] = [];
  readonly #metadata = new MetadataIndex();

  constructor(dimensions: number) {
    this.dimensions = dimensions;
    this.#graph = newGraph(dimensions);
    this.#rows = new Rows(dimensions);
  }

  get size(): number {
    return this.#rowOf.size;
  }

  labels(): IterableIterator<number> {
    return this.#rowOf.keys();
  }

  has(label: number): boolean {
    return this.#rowOf.has(label);
  }

  vector(label: number): Float32Array {
    return this.#rows.row(this.#rowOf.get(label)!);
  }

  /** Entries that are there already stay as they are: a label means one vector for ever. */
  put(entries: readonly Entry[]): void {
    const fresh = entries.filter(({ label }) => !this.#rowOf.has(label));
    if (fresh.length === 0) return;
    // All at once, since each call of the library begins threads, and as a block of their own, since it reads a view's
    // whole memory, from its beginning.
    const vectors = new Float32Array(fresh.length * this.dimensions);
    for (const [i, { vector }] of fresh.entries()) vectors.set(vector, i * this.dimensions);
    this.#graph.add(
      BigUint64Array.from(fresh, ({ label }) => BigInt(label)),
      vectors,
      1,
    );
    for (const entry of fresh) this.#keep(entry);
  }

  remove(label: number): void {
    const row = this.#rowOf.get(label);
    if (row === undefined) return;
    this.#graph.remove(BigInt(label));
    this.#metadata.remove(row, this.#metadataOf[row]!);
    this.#rowOf.delete(label);
    this.#rows.giveBack(row);
  }

  /** The nearest entries that the filter lets through, best first. @param query of length 1 */
  search(query: Float32Array, most: number, filter?: Filter): readonly Found[] {
    const lets = filter ? this.#metadata.match(filter, this.#rows.end) : undefined;
    const passing = lets ? lets.reduce((sum, one) => sum + one, 0) : this.size;
    if (passing === 0) return [];
    if (passing > FEW && passing > this.size * FEW_SHARE) {
      const found = this.#byGraph(query, Math.min(most, passing), passing, lets);
      if (found) return found;
    }
    return this.exact(query, most, lets);
  }

  /** The nearest entries by looking at each. @param lets 1 at rows that count */
  exact(query: Float32Array, most: number, lets?: Uint8Array): readonly Found[] {
    const nearest = new Nearest(most);
    for (const [label, row] of this.#rowOf)
      if (!lets || lets[row] === 1) nearest.offer(label, this.#rows.product(row, query));
    return nearest.found;
  }

  /** The graph as a file of the library's. */
  saveGraph(file: string): void {
    this.#graph.save(file);
  }

  /** An index over a graph that was saved. @param entries those of the graph */
  static restore(dimensions: number, file: string, entries: Iterable<Entry>): VectorIndex {
    const index = new VectorIndex(dimensions);
    index.#graph.load(file);
    for (const entry of entries) index.#keep(entry);
    if (index.#graph.size() !== index.size) throw new Error('the saved graph has other entries');
    return index;
  }

  #keep({ label, vector, metadata }: Entry): void {
    const row = this.#rows.take(vector);
    this.#rowOf.set(label, row);
    this.#labelOf[row] = label;
    this.#metadataOf[row] = metadata;
    this.#metadata.add(row, metadata);
  }

  /** @returns undefined where the graph would have to be asked for too many */
  #byGraph(
    query: Float32Array,
    most: number,
    passing: number,
    lets: Uint8Array | undefined,
  ): readonly Found[] | undefined {
    const graphQuery = query.slice();
    const margin = lets ? FILTERED_MARGIN : MARGIN;
    for (
      let asked = Math.ceil((most * this.size * margin) / passing) + SPARE;
      asked <= Math.max(FEW, this.size / 8);
      asked *= 4
    ) {
      const nearest = new Nearest(most);
      let passed = 0;
      for (const key of this.#graph.search(graphQuery, asked, 1).keys) {
        const row = this.#rowOf.get(Number(key));
        if (row === undefined || lets?.[row] === 0) continue;
        passed++;
        nearest.offer(Number(key), this.#rows.product(row, query));
      }
      if (passed >= most) return nearest.found;
    }
    return undefined;
  }
}

function newGraph(dimensions: number): Index {
  return new Index({
    ...{ dimensions, metric: MetricKind.IP, quantization: ScalarKind.BF16, multi: false },
    connectivity: CONNECTIVITY,
    ...{ expansion_add: EXPANSION_ADD, expansion_search: EXPANSION_SEARCH },
  });
}
