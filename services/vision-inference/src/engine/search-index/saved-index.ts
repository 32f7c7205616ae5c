import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type Entry, VectorIndex } from './vector-index.ts';

const GRAPH = 'graph.usearch';
const VECTORS = 'vectors.f32';
const LABELS = 'labels.f64';
const ABOUT = 'about.json';
/** Of the layout of these files and of the graph within. */
const FORM = 1;

interface About {
  form: number;
  dimensions: number;
  digests: Record<string, string>;
}

/** Keeps an index as a folder: the whole of it appears at once, or what was there before stays. */
export function saveIndex(index: VectorIndex, folder: string): void {
  const fresh = `${folder}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true, mode: 0o700 });
  const labels = Float64Array.from(index.labels());
  index.saveGraph(join(fresh, GRAPH));
  write(join(fresh, LABELS), [bytesOf(labels)]);
  write(
    join(fresh, VECTORS),
    labels.values().map((label) => bytesOf(index.vector(label))),
  );
  const digests = Object.fromEntries(
    [GRAPH, VECTORS, LABELS].map((name) => [name, digestOf(join(fresh, name))]),
  );
  const about: About = { form: FORM, dimensions: index.dimensions, digests };
  write(join(fresh, ABOUT), [Buffer.from(JSON.stringify(about))]);
  for (const path of [join(fresh, GRAPH), fresh]) sync(path);
  const old = `${folder}.old`;
  rmSync(old, { recursive: true, force: true });
  if (existsSync(folder)) renameSync(folder, old);
  renameSync(fresh, folder);
  sync(dirname(folder));
  rmSync(old, { recursive: true, force: true });
}

/**
 * An index from its folder, without the entries that are gone.
 * @param metadataOf of entries that are still there, by label
 * @returns undefined where there is none, or not whole: nothing is given to the library that is not what it wrote
 */
export function restoreIndex(
  folder: string,
  dimensions: number,
  metadataOf: ReadonlyMap<number, Record<string, string>>,
): VectorIndex | undefined {
  if (!existsSync(join(folder, ABOUT))) return undefined;
  try {
    const about = JSON.parse(readFileSync(join(folder, ABOUT), 'utf8')) as About;
    if (about.form !== FORM || about.dimensions !== dimensions) return undefined;
    for (const name of [GRAPH, VECTORS, LABELS])
      if (digestOf(join(folder, name)) !== about.digests[name]) return undefined;
    const labels = floats(Float64Array, readFileSync(join(folder, LABELS)));
    const vectors = floats(Float32Array, readFileSync(join(folder, VECTORS)));
    const entries: Entry[] = [...labels].map((label, i) => ({
      label,
      vector: vectors.subarray(i * dimensions, (i + 1) * dimensions),
      metadata: metadataOf.get(label) ?? {},
    }));
    const index = VectorIndex.restore(dimensions, join(folder, GRAPH), entries);
    for (const label of labels) if (!metadataOf.has(label)) index.remove(label);
    return index;
  } catch {
    return undefined;
  }
}

function write(file: string, parts: Iterable<Uint8Array>): void {
  const handle = openSync(file, 'w', 0o600);
  try {
    for (const part of parts) writeSync(handle, part);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function sync(path: string): void {
  const handle = openSync(path, 'r');
  fsyncSync(handle);
  closeSync(handle);
}

function digestOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Float64Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** A copy, at an address that numbers of this size may have. */
function floats<T>(Kind: new (buffer: ArrayBuffer) => T, { buffer, byteOffset, byteLength }: Buffer): T {
  return new Kind(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer);
}
