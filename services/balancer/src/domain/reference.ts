import { badReference } from '../errors.ts';

const PATTERN =
  /^models:\/([a-z0-9]+(?:[._-][a-z0-9]+)*)(?:\/([0-9A-Za-z.+-]{1,64})|(@[a-z][a-z0-9_-]{0,63}))$/;

/** A model as the registry is asked for it. */
export interface ModelReference {
  name: string;
  /** SemVer, or `@alias`. */
  version: string;
}

/** Reads `models:/name/version` or `models:/name@alias`. @throws LandfallError INVALID_ARGUMENT */
export function parseReference(ref: string, field: string): ModelReference {
  const [, name, version, alias] = PATTERN.exec(ref) ?? [];
  if (name === undefined || name.length > 64) throw badReference(field, ref);
  return { name, version: (version ?? alias)! };
}
