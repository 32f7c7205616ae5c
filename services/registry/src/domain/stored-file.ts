import type { ArtifactStore } from '@landfall/common/artifacts/store.ts';
import type { InspectedFile } from '../inspect/source.ts';
import type { ManifestFile } from './manifest.ts';

/** A file of a version as an inspection reads it: out of the store, verified. */
export function storedFile(
  artifacts: ArtifactStore,
  { path, digest, sizeBytes }: ManifestFile,
): InspectedFile {
  return {
    path,
    sizeBytes,
    read: (offset, length) =>
      artifacts.readRange(digest, offset, Math.max(0, Math.min(length, sizeBytes - offset))),
    stream: (signal) => artifacts.read(digest, signal),
  };
}
