import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { parseSafetensorsHeader, type TensorEntry } from '@landfall/graph/checkpoint/safetensors.ts';
import type { InspectedFile } from './source.ts';

/** Tensors by name. */
export type Tensors = ReadonlyMap<string, TensorEntry>;

const LENGTH_BYTES = 8;
/** The format's own limit of a header. */
const MAX_HEADER_BYTES = 100_000_000;

/** The tensors of a safetensors file, by its header alone. Throws INVALID_ARGUMENT for a header that lies. */
export async function readSafetensors(file: InspectedFile): Promise<Tensors> {
  const start = Buffer.from(await file.read(0, LENGTH_BYTES));
  const claimed = start.length === LENGTH_BYTES ? start.readBigUInt64LE() : 0n;
  const sound = claimed <= BigInt(MAX_HEADER_BYTES) && claimed <= BigInt(file.sizeBytes);
  const head = sound ? await file.read(0, LENGTH_BYTES + Number(claimed)) : start;
  try {
    return parseSafetensorsHeader(head, file.sizeBytes).tensors;
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    throw invalidArgument('content', `'${file.path}': ${error.message}`);
  }
}
