import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { pathProblem } from '../domain/path.ts';
import type { InspectedFile } from './source.ts';
import { packedVarints, WireError, WireReader } from './wire.ts';

/** Content of a tensor that lies in another file: onnx.proto, TensorProto.external_data. */
export type ExternalData = { tensor: string; location: string; offset: number; length: number | undefined };

type MessageType = 'Model' | 'Training' | 'Graph' | 'Node' | 'Attribute' | 'Sparse' | 'Function' | 'Tensor';

/** Which fields of onnx.proto lead to tensors; everything else is jumped over. */
const CHILDREN: Record<Exclude<MessageType, 'Tensor'>, Readonly<Record<number, MessageType>>> = {
  Model: { 7: 'Graph', 20: 'Training', 25: 'Function' },
  Training: { 1: 'Graph', 2: 'Graph' },
  Graph: { 1: 'Node', 5: 'Tensor', 15: 'Sparse' },
  Node: { 5: 'Attribute' },
  Attribute: { 5: 'Tensor', 6: 'Graph', 10: 'Tensor', 11: 'Graph', 22: 'Sparse', 23: 'Sparse' },
  Sparse: { 1: 'Tensor', 2: 'Tensor' },
  Function: { 7: 'Node', 11: 'Attribute' },
};

// biome-ignore format: a table
/** Bits of an element by TensorProto.DataType; strings (8) have no fixed size. */
const ELEMENT_BITS: Readonly<Record<number, number>> = {
  1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
  17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8,
};

/** Data fields of TensorProto other than raw_data: float, int32, string, int64, double, uint64. */
const TYPED_DATA = new Set([4, 5, 6, 7, 10, 11]);
const MAX_DEPTH = 64;
const MAX_RANK = 64;
const MAX_TEXT_BYTES = 4096;
/** How ONNX Runtime marks an address of its own memory as a location. */
const MEMORY_ADDRESS = '_ORT_MEM_ADDR_';

/**
 * Checks an ONNX file without loading it: that its messages read, that every tensor has as many bytes as its shape
 * says, and that external data lies in the file's own folder or below. Returns the external data, which must be
 * held against the version's other files. Throws INVALID_ARGUMENT.
 */
export async function checkOnnx(file: InspectedFile): Promise<ExternalData[]> {
  const reader = new WireReader(file);
  const external: ExternalData[] = [];
  let graphs = 0;

  const walk = async (type: MessageType, start: number, end: number, depth: number): Promise<void> => {
    if (depth > MAX_DEPTH) throw new WireError(`graphs are nested deeper than ${MAX_DEPTH}`);
    if (type === 'Tensor') {
      const data = await checkTensor(reader, start, end);
      if (data) external.push(data);
      return;
    }
    if (type === 'Graph') graphs++;
    for await (const field of reader.fields(start, end)) {
      const child = CHILDREN[type][field.number];
      if (child === undefined) continue;
      if (!('start' in field)) throw new WireError(`field ${field.number} of ${type} is a number`);
      await walk(child, field.start, field.end, depth + 1);
    }
  };

  try {
    await walk('Model', 0, file.sizeBytes, 0);
    if (graphs === 0) throw new WireError('it has no graph');
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw invalidArgument('content', `'${file.path}' is not a sound ONNX file: ${error.message}`);
  }
  return external;
}

async function checkTensor(
  reader: WireReader,
  start: number,
  end: number,
): Promise<ExternalData | undefined> {
  const dims: bigint[] = [];
  const entries = new Map<string, string>();
  let [dataType, located, rawBytes, typedBytes, name] = [0, false, -1, 0, ''];
  for await (const field of reader.fields(start, end)) {
    if ('value' in field) {
      if (field.number === 1) dims.push(field.value);
      if (field.number === 2) dataType = Number(field.value);
      if (field.number === 14) located = field.value === 1n;
      if (TYPED_DATA.has(field.number)) typedBytes += 2;
    } else if (field.number === 1) {
      dims.push(...packedVarints(await reader.bytes(field.start, field.end, MAX_RANK * 10)));
    } else if (field.number === 8) {
      name = text(await reader.bytes(field.start, field.end, MAX_TEXT_BYTES));
    } else if (field.number === 9) {
      rawBytes = field.end - field.start;
    } else if (field.number === 13) {
      const [key, value] = await readEntry(reader, field.start, field.end);
      entries.set(key, value);
      if (key === 'location') checkLocation(name, value);
    } else if (TYPED_DATA.has(field.number)) {
      // A string of a string tensor may be empty: its tag and length are what it has.
      typedBytes += field.end - field.start + (field.number === 6 ? 2 : 0);
    }
  }
  const label = JSON.stringify(name.slice(0, 80));
  const elements = countElements(label, dims);
  const bits = ELEMENT_BITS[dataType];
  const sizeBytes = bits === undefined ? undefined : Number((elements * BigInt(bits) + 7n) / 8n);
  if (located || entries.size > 0) {
    return externalData(label, entries, sizeBytes);
  }
  if (rawBytes >= 0) {
    if (sizeBytes === undefined)
      throw new WireError(`tensor ${label} has raw data of the unknown type ${dataType}`);
    if (rawBytes !== sizeBytes) {
      throw new WireError(`tensor ${label} of shape [${dims}] takes ${sizeBytes} bytes and has ${rawBytes}`);
    }
  } else if (elements > BigInt(typedBytes) * 2n) {
    // Packed numbers take a byte each at least, and 4-bit types hold two elements in one.
    throw new WireError(`tensor ${label} of shape [${dims}] has only ${typedBytes} bytes of data`);
  }
  return undefined;
}

function countElements(label: string, dims: readonly bigint[]): bigint {
  if (dims.length > MAX_RANK) throw new WireError(`tensor ${label} has ${dims.length} dimensions`);
  let elements = 1n;
  for (const dim of dims) {
    elements *= BigInt.asIntN(64, dim);
    if (dim >= 1n << 63n || elements > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new WireError(`tensor ${label} has the impossible shape [${dims}]`);
    }
  }
  return elements;
}

function checkLocation(tensor: string, location: string): void {
  const problem = location.includes(MEMORY_ADDRESS) ? 'the path is a memory address' : pathProblem(location);
  if (problem) {
    throw new WireError(
      `tensor ${JSON.stringify(tensor.slice(0, 80))} has external data outside the model's folder (${problem})`,
    );
  }
}

function externalData(label: string, entries: ReadonlyMap<string, string>, sizeBytes: number | undefined) {
  const location = entries.get('location');
  if (location === undefined) throw new WireError(`tensor ${label} has external data without a location`);
  const offset = wholeNumber(label, 'offset', entries.get('offset') ?? '0');
  const given = entries.get('length');
  const length = given === undefined ? sizeBytes : wholeNumber(label, 'length', given);
  if (length !== undefined && sizeBytes !== undefined && length !== sizeBytes) {
    throw new WireError(`tensor ${label} takes ${sizeBytes} bytes and names ${length} of external data`);
  }
  return { tensor: label, location, offset, length };
}

function wholeNumber(label: string, key: string, value: string): number {
  const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
  if (Number.isNaN(number)) throw new WireError(`tensor ${label} has a bad ${key} of external data`);
  return number;
}

/** A StringStringEntryProto: key 1, value 2. */
async function readEntry(reader: WireReader, start: number, end: number): Promise<[string, string]> {
  let [key, value] = ['', ''];
  for await (const field of reader.fields(start, end)) {
    if (!('start' in field)) continue;
    if (field.number === 1) key = text(await reader.bytes(field.start, field.end, MAX_TEXT_BYTES));
    if (field.number === 2) value = text(await reader.bytes(field.start, field.end, MAX_TEXT_BYTES));
  }
  return [key, value];
}

function text(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new WireError('a text is not UTF-8');
  }
}
