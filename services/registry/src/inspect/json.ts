import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { type InspectedFile, readText } from './source.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** The JSON object in a file. Throws INVALID_ARGUMENT for anything else, or above the limit. */
export async function readJsonObject(
  file: InspectedFile,
  limitBytes = 16 * 1024 * 1024,
): Promise<JsonObject> {
  let value: unknown;
  try {
    value = JSON.parse(await readText(file, limitBytes));
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof RangeError || error instanceof TypeError))
      throw error;
    const why =
      error instanceof SyntaxError ? error.message.replace(/\s+/g, ' ').slice(0, 120) : error.message;
    throw invalidArgument('content', `'${file.path}' is not JSON: ${why}`);
  }
  if (!isObject(value)) throw invalidArgument('content', `'${file.path}' holds JSON that is not an object`);
  return value;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A whole number of an object within bounds. Throws INVALID_ARGUMENT. */
export function wholeNumber(
  { path }: InspectedFile,
  object: JsonObject,
  key: string,
  limit: number,
  fallback?: number,
): number {
  const value = object[key] ?? fallback;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > limit) {
    throw invalidArgument('content', `'${path}' needs a whole number ${key} from 1 to ${limit}`);
  }
  return value;
}
