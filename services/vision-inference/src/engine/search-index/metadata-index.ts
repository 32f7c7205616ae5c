import { type Filter, numberOf, within } from './filter.ts';

/** Entries that have one value under a key. */
interface Posting {
  /** The value as a number, where it is one. */
  number: number | undefined;
  rows: Set<number>;
}

/** Metadata of rows by key and value, so that a filter costs what it lets through and not what there is. */
export class MetadataIndex {
  readonly #keys = new Map<string, Map<string, Posting>>();

  add(row: number, metadata: Readonly<Record<string, string>>): void {
    for (const [key, value] of Object.entries(metadata)) {
      const values = this.#keys.get(key) ?? new Map<string, Posting>();
      const posting = values.get(value) ?? { number: numberOf(value), rows: new Set() };
      this.#keys.set(key, values);
      values.set(value, posting);
      posting.rows.add(row);
    }
  }

  remove(row: number, metadata: Readonly<Record<string, string>>): void {
    for (const [key, value] of Object.entries(metadata)) {
      const values = this.#keys.get(key);
      const posting = values?.get(value);
      posting?.rows.delete(row);
      if (posting?.rows.size === 0) values!.delete(value);
      if (values?.size === 0) this.#keys.delete(key);
    }
  }

  /** @param size rows there may be @returns 1 at each row that the filter lets through */
  match(filter: Filter, size: number): Uint8Array {
    const mask = new Uint8Array(size);
    switch (filter.kind) {
      case 'one_of':
        for (const value of filter.values) mark(mask, this.#keys.get(filter.key)?.get(value));
        return mask;
      case 'range':
        for (const posting of this.#keys.get(filter.key)?.values() ?? [])
          if (posting.number !== undefined && within(filter.bounds, posting.number)) mark(mask, posting);
        return mask;
      case 'any':
        for (const each of filter.filters)
          for (const [row, lets] of this.match(each, size).entries()) mask[row]! |= lets;
        return mask;
      case 'all':
        mask.fill(1);
        for (const each of filter.filters)
          for (const [row, lets] of this.match(each, size).entries()) mask[row]! &= lets;
        return mask;
    }
  }
}

function mark(mask: Uint8Array, posting: Posting | undefined): void {
  for (const row of posting?.rows ?? []) mask[row] = 1;
}
