import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import { writeFileAtomically } from './atomic-file.ts';
import { CheckpointError } from './errors.ts';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './float16.ts';
import { repeatedKey } from './json-keys.ts';

/** Element types and their size in bytes, as safetensors names them. */
const ELEMENT_BYTES = new Map([
  ['F64', 8],
  ['F32', 4],
  ['F16', 2],
  ['BF16', 2],
  ['I64', 8],
  ['I32', 4],
  ['I16', 2],
  ['I8', 1],
  ['U64', 8],
  ['U32', 4],
  ['U16', 2],
  ['U8', 1],
  ['BOOL', 1],
]);

/** Longer headers are refused, as the reference implementation does. */
const MAX_HEADER_BYTES = 100_000_000;

/** A name from a file, fit for a message of one line. */
function shown(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 120)}…` : name);
}

/** Where a tensor lies in its file. */
export interface TensorEntry {
  name: string;
  dtype: string;
  shape: number[];
  /** First byte, from the file's beginning. */
  offset: number;
  byteLength: number;
}

/** A parsed header: every tensor's place, checked against the file's size. */
export interface SafetensorsHeader {
  tensors: Map<string, TensorEntry>;
  metadata: Record<string, string>;
}

/**
 * Parses and checks a safetensors header.
 * @param head the file's first bytes: 8 of length, then the JSON header
 * @param fileBytes size of the whole file
 * @throws CheckpointError for a header that lies: longer than the file, unknown types, shapes that do not match
 *   their bytes, overlaps, holes, a name that stands twice in one object, metadata that is not text.
 */
export function parseSafetensorsHeader(head: Uint8Array, fileBytes: number): SafetensorsHeader {
  if (fileBytes < 8 || head.length < 8) throw new CheckpointError('safetensors: the file has no header');
  const length = new DataView(head.buffer, head.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES) || length > BigInt(fileBytes - 8)) {
    throw new CheckpointError(`safetensors: the header claims ${length} bytes and the file has ${fileBytes}`);
  }
  const headerBytes = Number(length);
  const json = parseJson(head.subarray(8, 8 + headerBytes));
  const dataStart = 8 + headerBytes;
  const tensors = new Map<string, TensorEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') {
      metadata = readMetadata(value);
      continue;
    }
    tensors.set(name, readEntry(name, value, dataStart));
  }
  let end = dataStart;
  for (const entry of [...tensors.values()].sort(
    (a, b) => a.offset - b.offset || a.byteLength - b.byteLength,
  )) {
    if (entry.offset !== end)
      throw new CheckpointError(`safetensors: tensor ${shown(entry.name)} overlaps another or leaves a hole`);
    end += entry.byteLength;
  }
  if (end !== fileBytes) {
    throw new CheckpointError(`safetensors: the tensors end at byte ${end} and the file at ${fileBytes}`);
  }
  return { tensors, metadata };
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new CheckpointError('safetensors: the header is not UTF-8');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new CheckpointError('safetensors: the header is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CheckpointError('safetensors: the header is not an object');
  }
  const twice = repeatedKey(text);
  if (twice !== undefined) throw new CheckpointError(`safetensors: ${shown(twice)} is named twice`);
  return value as Record<string, unknown>;
}

function readMetadata(value: unknown): Record<string, string> {
  const isText =
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((text) => typeof text === 'string');
  if (!isText) throw new CheckpointError('safetensors: __metadata__ is not an object of texts');
  return value as Record<string, string>;
}

function readEntry(name: string, value: unknown, dataStart: number): TensorEntry {
  const refuse = (what: string) => new CheckpointError(`safetensors: tensor ${shown(name)} ${what}`);
  if (typeof value !== 'object' || value === null) throw refuse('is not described by an object');
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  const elementBytes = typeof dtype === 'string' ? ELEMENT_BYTES.get(dtype) : undefined;
  if (elementBytes === undefined) {
    throw refuse(typeof dtype === 'string' ? `has the unknown type ${shown(dtype)}` : 'has no type');
  }
  const whole = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  if (!Array.isArray(shape) || !shape.every(whole)) throw refuse('has no valid shape');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(whole) || offsets[0] > offsets[1]) {
    throw refuse('has no valid offsets');
  }
  const byteLength = offsets[1] - offsets[0];
  const elements = (shape as number[]).reduce((product, n) => product * n, 1);
  if (elements * elementBytes !== byteLength) {
    throw refuse(`of shape ${shown(`[${shape}]`)} and type ${dtype} does not fit its ${byteLength} bytes`);
  }
  return {
    name,
    dtype: dtype as string,
    shape: shape as number[],
    offset: dataStart + offsets[0],
    byteLength,
  };
}

/**
 * Reads and checks the header of a file.
 * @throws CheckpointError by the file's name, also for a file that is missing or can't be read
 */
export function readSafetensorsHeader(file: string): SafetensorsHeader {
  return withFile(file, (fd) => {
    const { size } = fstatSync(fd);
    const length = Buffer.alloc(8);
    readSync(fd, length, 0, 8, 0);
    const claimed = length.readBigUInt64LE();
    const bytes = claimed > BigInt(MAX_HEADER_BYTES) ? 8 : Math.min(size, 8 + Number(claimed));
    const head = Buffer.alloc(bytes);
    for (let done = 0; done < bytes; ) {
      const got = readSync(fd, head, done, bytes - done, done);
      if (got === 0) throw new CheckpointError('safetensors: the file ends inside its header');
      done += got;
    }
    return parseSafetensorsHeader(head, size);
  });
}

/** Runs with an open file; failures name the file but not where it lies. */
function withFile<T>(file: string, act: (fd: number) => T): T {
  const name = basename(file);
  let fd: number | undefined;
  try {
    fd = openSync(file, 'r');
    return act(fd);
  } catch (error) {
    if (error instanceof CheckpointError) throw new CheckpointError(`${name}: ${error.message}`);
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new CheckpointError(`${name} is missing`);
    if (code !== undefined) throw new CheckpointError(`${name} can't be read (${code})`);
    throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/**
 * Reads one tensor as float32, whatever of F32, F16 and BF16 it is stored as.
 * @throws CheckpointError for other types, and when the file has become shorter than its header said
 */
export function readFloat32(file: string, entry: TensorEntry): Float32Array {
  return withFile(file, (fd) => {
    const { name, dtype, offset, byteLength } = entry;
    if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16')
      throw new CheckpointError(`tensor ${shown(name)} is ${dtype}; F32, F16 or BF16 is needed`);
    const bytes = Buffer.from(new ArrayBuffer(byteLength));
    for (let done = 0; done < byteLength; ) {
      const got = readSync(fd, bytes, done, Math.min(byteLength - done, 2 ** 30), offset + done);
      if (got === 0) throw new CheckpointError(`the file ends inside tensor ${shown(name)}`);
      done += got;
    }
    if (dtype === 'F32') return new Float32Array(bytes.buffer);
    const target = new Float32Array(byteLength / 2);
    const source = new Uint16Array(bytes.buffer);
    if (dtype === 'F16') float16ToFloat32(source, target);
    else bfloat16ToFloat32(source, target);
    return target;
  });
}

/** A tensor in memory. */
export interface NamedTensor {
  shape: number[];
  data: Float32Array;
}

/** A tensor that is read when it is written, so that a checkpoint larger than memory can be rewritten. */
export interface TensorSource {
  shape: readonly number[];
  read(): Float32Array | Int8Array | Uint8Array;
  /** Type of this one, where it is not that of all. Whole numbers are written as they are. */
  dtype?: StoredType | 'I8' | 'U8';
}

/** How values can be stored. */
export type StoredType = 'F32' | 'F16' | 'BF16';

export interface WriteOptions {
  /** F32 where nothing is said; F16 and BF16 round to nearest even. */
  dtype?: StoredType;
  metadata?: Record<string, string>;
}

/**
 * Writes tensors, sorted by name, so that equal content makes equal files. The file is there whole or not at all.
 * @throws RangeError for data that does not fit its shape
 */
export function writeSafetensors(
  file: string,
  tensors: ReadonlyMap<string, NamedTensor>,
  options: WriteOptions = {},
): void {
  const sources = [...tensors].map(([name, { shape, data }]) => [name, { shape, read: () => data }] as const);
  writeSafetensorsFrom(file, new Map(sources), options);
}

/** The same, one tensor in memory at a time. */
export function writeSafetensorsFrom(
  file: string,
  sources: ReadonlyMap<string, TensorSource>,
  options: WriteOptions = {},
): void {
  const { dtype = 'F32', metadata = { format: 'pt' } } = options;
  const typeOf = (name: string) => sources.get(name)!.dtype ?? dtype;
  const bytesOf = (name: string) => ELEMENT_BYTES.get(typeOf(name))!;
  // Wider types first, so that every tensor begins at a multiple of its element.
  const names = [...sources.keys()].sort((a, b) => bytesOf(b) - bytesOf(a) || (a < b ? -1 : 1));
  const size = (name: string) => sources.get(name)!.shape.reduce((product, n) => product * n, 1);
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const name of names) {
    const byteLength = size(name) * bytesOf(name);
    header[name] = {
      dtype: typeOf(name),
      shape: sources.get(name)!.shape,
      data_offsets: [offset, offset + byteLength],
    };
    offset += byteLength;
  }
  // The data begins at a multiple of 8 bytes, as the reference implementation pads it.
  let json = JSON.stringify(header);
  json += ' '.repeat((8 - (Buffer.byteLength(json) % 8)) % 8);
  const head = Buffer.alloc(8 + Buffer.byteLength(json));
  head.writeBigUInt64LE(BigInt(head.length - 8));
  head.write(json, 8);
  writeFileAtomically(file, chunks());

  function* chunks(): Generator<Uint8Array> {
    yield head;
    for (const name of names) {
      const data = sources.get(name)!.read();
      if (data.length !== size(name))
        throw new RangeError(`tensor ${shown(name)} has ${data.length} values; its shape has ${size(name)}`);
      const stored = data instanceof Float32Array ? encode(data, typeOf(name)) : data;
      yield new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
    }
  }
}

function encode(data: Float32Array, dtype: string): Float32Array | Uint16Array {
  if (dtype === 'F16') return float32ToFloat16(data);
  return dtype === 'BF16' ? float32ToBfloat16(data) : data;
}
