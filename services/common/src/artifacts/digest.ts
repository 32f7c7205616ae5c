import { dataLoss, invalidArgument, type LandfallError, notFound } from '../errors/errors.ts';

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isDigest(value: string): boolean {
  return DIGEST.test(value);
}

/** @throws LandfallError INVALID_ARGUMENT for anything but `sha256:` and 64 lower case hex digits. */
export function checkDigest(value: string, field = 'digest'): string {
  if (!isDigest(value)) throw invalidArgument(field, "must be 'sha256:' and 64 lower case hex digits");
  return value;
}

/** What was kept under a digest is other content now. */
export function contentChanged(digest: string): LandfallError {
  return dataLoss(`the stored content of ${digest} has changed and is not given out; upload it again`);
}

export function contentMissing(digest: string): LandfallError {
  return notFound(`no content with the digest ${digest}`);
}
