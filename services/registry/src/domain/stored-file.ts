import type { ArtifactStore } from '@landfall/common/artifacts/store.ts';
import { dataLoss } from '@landfall/common/errors/errors.ts';
import type { InspectedFile } from '../inspect/source.ts';
import type { ManifestFile } from './manifest.ts';

/**
 * A file of a version as it lies in the store, verified while it is read. Content that a version refers to and that
 * is not there any more is DATA_LOSS like content that has changed.
 */
export function storedFile(
  artifacts: ArtifactStore,
  { path, digest, sizeBytes }: ManifestFile,
): InspectedFile {
  const checkPresence = async () => {
    if ((await artifacts.size(digest)) === undefined) {
      throw dataLoss(`the content of '${path}' (${digest}) is lost; upload it again`);
    }
  };
  return {
    path,
    sizeBytes,
    async read(offset, length) {
      await checkPresence();
      return artifacts.readRange(digest, offset, Math.max(0, Math.min(length, sizeBytes - offset)));
    },
    async *stream(signal) {
      await checkPresence();
      yield* artifacts.read(digest, signal);
    },
  };
}
