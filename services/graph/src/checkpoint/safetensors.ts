import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { basename } from 'node:path';
import { CheckpointError } from './errors.ts';
import { bfloat16ToFloat32, float16ToFloat32, float32ToFloat16 } from './float16.ts';

/** Element types and their size in bytes, as safetensors names them. */
const ELEMENT_BYTES: Record<string, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

/** Longer headers are refused, as the reference implementation does. */
const MAX_HEADER_BYTES = 100_000_000;

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
 *   their bytes, overlaps, holes, duplicate names.
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
      metadata = value as Record<string, string>;
      continue;
    }
    tensors.set(name, readEntry(name, value, dataStart));
  }
  let end = dataStart;
  for (const entry of [...tensors.values()].sort(
    (a, b) => a.offset - b.offset || a.byteLength - b.byteLength,
  )) {
    if (entry.offset !== end)
      throw new CheckpointError(`safetensors: tensor ${entry.name} overlaps another or leaves a hole`);
    end += entry.byteLength;
  }
  if (end !== fileBytes) {
    throw new CheckpointError(`safetensors: the tensors end at byte ${end} and the file at ${fileBytes}`);
  }
  return { tensors, metadata };
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  const text = (() => {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      throw new CheckpointError('safetensors: the header is not UTF-8');
    }
  })();
  const names = new Set<string>();
  try {
    value = JSON.parse(text);
  } catch {
    throw new CheckpointError('safetensors: the header is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CheckpointError('safetensors: the header is not an object');
  }
  // JSON.parse keeps the last of two equal keys; the file that hides one behind the other is refused.
  for (const match of text.matchAll(/"((?:[^"\\]|\\.)*)"\s*:\s*\{\s*"(?:dtype|shape|data_offsets)"/g)) {
    if (names.has(match[1]!)) throw new CheckpointError(`safetensors: tensor ${match[1]} is named twice`);
    names.add(match[1]!);
  }
  return value as Record<string, unknown>;
}

function readEntry(name: string, value: unknown, dataStart: number): TensorEntry {
  const refuse = (what: string) => new CheckpointError(`safetensors: tensor ${name} ${what}`);
  if (typeof value !== 'object' || value === null) throw refuse('is not described by an object');
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  const elementBytes = typeof dtype === 'string' ? ELEMENT_BYTES[dtype] : undefined;
  if (elementBytes === undefined) throw refuse(`has the unknown type ${String(dtype)}`);
  const whole = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  if (!Array.isArray(shape) || !shape.every(whole)) throw refuse('has no valid shape');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(whole) || offsets[0] > offsets[1]) {
    throw refuse('has no valid offsets');
  }
  const byteLength = offsets[1] - offsets[0];
  const elements = (shape as number[]).reduce((product, n) => product * n, 1);
  if (elements * elementBytes !== byteLength) {
    throw refuse(`of shape [${shape}] and type ${dtype} does not fit its ${byteLength} bytes`);
  }
  return {
    name,
    dtype: dtype as string,
    shape: shape as number[],
    offset: dataStart + offsets[0],
    byteLength,
  };
}

/** Reads and checks the header of a file. */
export function readSafetensorsHeader(file: string): SafetensorsHeader {
  const fd = openSync(file, 'r');
  try {
    const { size } = fstatSync(fd);
    const length = Buffer.alloc(8);
    readSync(fd, length, 0, 8, 0);
    const claimed = length.readBigUInt64LE();
    const bytes = claimed > BigInt(MAX_HEADER_BYTES) ? 8 : Math.min(size, 8 + Number(claimed));
    const head = Buffer.alloc(bytes);
    readSync(fd, head, 0, bytes, 0);
    return parseSafetensorsHeader(head, size);
  } catch (error) {
    if (error instanceof CheckpointError) throw new CheckpointError(`${basename(file)}: ${error.message}`);
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Reads one tensor as float32, whatever of F32, F16 and BF16 it is stored as. */
export function readFloat32(file: string, entry: TensorEntry): Float32Array {
  const bytes = Buffer.from(new ArrayBuffer(entry.byteLength));
  const fd = openSync(file, 'r');
  try {
    let done = 0;
    while (done < bytes.length) {
      const got = readSync(fd, bytes, done, bytes.length - done, entry.offset + done);
      if (got === 0)
        throw new CheckpointError(`${basename(file)}: the file ends inside tensor ${entry.name}`);
      done += got;
    }
  } finally {
    closeSync(fd);
  }
  if (entry.dtype === 'F32') return new Float32Array(bytes.buffer);
  const target = new Float32Array(entry.byteLength / 2);
  const source = new Uint16Array(bytes.buffer);
  if (entry.dtype === 'F16') float16ToFloat32(source, target);
  else if (entry.dtype === 'BF16') bfloat16ToFloat32(source, target);
  else
    throw new CheckpointError(
      `${basename(file)}: tensor ${entry.name} is ${entry.dtype}; F32, F16 or BF16 is needed`,
    );
  return target;
}

/** A tensor in memory. */
export interface NamedTensor {
  shape: number[];
  data: Float32Array;
}

/**
 * Writes tensors, sorted by name, so that equal content makes equal files: aside, synced, and moved into place.
 * @param dtype how the values are stored
 */
export function writeSafetensors(
  file: string,
  tensors: ReadonlyMap<string, NamedTensor>,
  options: { dtype?: 'F32' | 'F16'; metadata?: Record<string, string> } = {},
): void {
  const { dtype = 'F32', metadata = { format: 'pt' } } = options;
  const header: Record<string, unknown> = { __metadata__: metadata };
  const names = [...tensors.keys()].sort();
  let offset = 0;
  for (const name of names) {
    const { shape, data } = tensors.get(name)!;
    const byteLength = data.length * ELEMENT_BYTES[dtype]!;
    header[name] = { dtype, shape, data_offsets: [offset, offset + byteLength] };
    offset += byteLength;
  }
  // The data begins at a multiple of 8 bytes, as the reference implementation pads it.
  let json = JSON.stringify(header);
  json += ' '.repeat((8 - (Buffer.byteLength(json) % 8)) % 8);
  const head = Buffer.alloc(8 + Buffer.byteLength(json));
  head.writeBigUInt64LE(BigInt(head.length - 8));
  head.write(json, 8);
  const aside = `${file}.${process.pid}.tmp`;
  const fd = openSync(aside, 'w', 0o600);
  try {
    writeAll(fd, head);
    for (const name of names) {
      const { data } = tensors.get(name)!;
      const stored = dtype === 'F16' ? float32ToFloat16(data) : data;
      writeAll(fd, new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength));
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(aside, file);
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
}
