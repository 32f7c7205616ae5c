import { invalidArgument } from '@landfall/common/errors/errors.ts';

/** A parsed `models:/name/version` or `models:/name@alias`. */
export interface Reference {
  name: string;
  /** SemVer or `@alias`, as the registry takes it. */
  version: string;
}

const PATTERN = /^models:\/([a-z0-9]+(?:[._-][a-z0-9]+)*)(?:\/([0-9A-Za-z.+-]+)|(@[a-z][a-z0-9_-]*))$/;

/** @throws LandfallError INVALID_ARGUMENT naming the field */
export function parseReference(ref: string, field: string): Reference {
  const match = PATTERN.exec(ref);
  if (!match) {
    const shown = JSON.stringify(ref.slice(0, 80));
    throw invalidArgument(field, `${shown} is not models:/name/version or models:/name@alias`);
  }
  return { name: match[1]!, version: match[2] ?? match[3]! };
}

export function formatReference(name: string, version: string): string {
  return `models:/${name}/${version}`;
}
