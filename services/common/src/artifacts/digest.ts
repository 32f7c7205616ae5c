import { invalidArgument } from '../errors/errors.ts';

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isDigest(value: string): boolean {
  return DIGEST.test(value);
}

/** @throws LandfallError INVALID_ARGUMENT for anything but `sha256:` and 64 lower case hex digits. */
export function checkDigest(value: string, field = 'digest'): string {
  if (!isDigest(value)) throw invalidArgument(field, "must be 'sha256:' and 64 lower case hex digits");
  return value;
}
