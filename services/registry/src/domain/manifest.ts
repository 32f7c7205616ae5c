import { createHash } from 'node:crypto';

/** A file of a version: where it lies in it and what it holds. */
export type ManifestFile = { path: string; digest: string; sizeBytes: number };

/** `sha256:` and 64 lower case hexadecimal digits; nothing else ever becomes a blob's name. */
export const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Sorted by the bytes of the path in UTF-8, the order that every language and system agrees on. */
export function sortFiles<F extends ManifestFile>(files: readonly F[]): F[] {
  return [...files].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

/**
 * The text that a manifest's digest is taken over: compact JSON in UTF-8, files sorted by path, keys in this order.
 * Anyone can recompute it with sha256sum.
 */
export function canonicalManifest(files: readonly ManifestFile[]): string {
  return JSON.stringify({
    files: sortFiles(files).map(({ path, digest, sizeBytes }) => ({ path, digest, size_bytes: sizeBytes })),
  });
}

/** sha256 over the canonical manifest, as `sha256:<hex>`. */
export function manifestDigest(files: readonly ManifestFile[]): string {
  return `sha256:${createHash('sha256').update(canonicalManifest(files)).digest('hex')}`;
}
