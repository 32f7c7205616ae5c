import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError } from './errors.ts';

/**
 * Reads a JSON object from a checkpoint's folder.
 * @throws CheckpointError by the file's name: missing or unreadable, not JSON, not an object
 */
export function readJsonObject(folder: string, name: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(join(folder, name), 'utf8');
  } catch (error) {
    // The system's own message would name the path.
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new CheckpointError(`${name} ${missing ? 'is missing' : "can't be read"}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new CheckpointError(`${name} is not JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new CheckpointError(`${name} is not a JSON object`);
  return value as Record<string, unknown>;
}
