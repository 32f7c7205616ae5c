import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { parseSafetensorsHeader, type TensorEntry } from '@landfall/graph/checkpoint/safetensors.ts';
import type { InspectedFile } from './source.ts';

/** Tensors by name. */
export type Tensors = ReadonlyMap<string, TensorEntry>;

const LENGTH_BYTES = 8;
/** Room for 100,000 tensors; the format itself allows 100 MB, which nobody needs and anybody could send. */
const MAX_HEADER_BYTES = 16 * 1024 * 1024;

/** The tensors of a safetensors file, by its header alone. Throws INVALID_ARGUMENT for a header that lies. */
export async function readSafetensors(file: InspectedFile): Promise<Tensors> {
  const start = Buffer.from(await file.read(0, LENGTH_BYTES));
  const claimed = start.length === LENGTH_BYTES ? start.readBigUInt64LE() : 0n;
  if (claimed > BigInt(MAX_HEADER_BYTES)) {
    throw invalidArgument(
      'content',
      `'${file.path}' claims a header of ${claimed} bytes; ${MAX_HEADER_BYTES} are allowed`,
    );
  }
  const head = await file.read(0, LENGTH_BYTES + Number(claimed));
  try {
    return parseSafetensorsHeader(head, file.sizeBytes).tensors;
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    throw invalidArgument('content', `'${file.path}': ${error.message}`);
  }
}
