import type { Filter } from './filter.ts';
import type { Found } from './nearest.ts';
import type { Entry } from './vector-index.ts';

/** Metadata of an entry by its label. */
export type Described = readonly [label: number, metadata: Record<string, string>];

/** What the thread of the indexes is asked; each is answered by the call's number. */
export type IndexRequest =
  /** Takes what was saved of the index, for entries that are still there; answers the labels that it then has. */
  | { type: 'open'; index: string; dimensions: number; folder: string; entries: readonly Described[] }
  | { type: 'put'; index: string; entries: readonly Entry[] }
  | { type: 'remove'; index: string; labels: readonly number[] }
  | { type: 'search'; index: string; query: Float32Array; most: number; filter: Filter | undefined }
  | { type: 'save'; index: string; folder: string }
  /** Out of memory; what was saved stays. */
  | { type: 'forget'; index: string };

export type IndexAnswer<T extends IndexRequest['type']> = {
  open: Float64Array;
  put: number;
  remove: number;
  search: readonly Found[];
  save: boolean;
  forget: boolean;
}[T];

export type ToIndexes = { call: number; request: IndexRequest } | { close: true };
export type FromIndexes =
  | { ready: true }
  | { call: number; answer: unknown }
  | { call: number; failed: string };
