import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { VisionContext } from '../context.ts';
import type { CollectionRow } from '../db/collection-entities.ts';
import type { Content } from '../embedding/embeddings.ts';
import { mixed, unitVector } from './vectors.ts';

/** What an entry or a search means: image, text or both, or a vector. */
export interface Meaning {
  image?: { content: Uint8Array } | undefined;
  text: string;
  imageWeight?: number | undefined;
  vector: readonly number[];
}

/** Where in a request a meaning stands: `entries[3].`, or empty at the top. */
export interface Placed {
  path: string;
  meaning: Meaning;
}

/**
 * Vectors of length 1, in order. What needs a model is embedded all at once.
 * @throws LandfallError INVALID_ARGUMENT that names the field, FAILED_PRECONDITION where there is no model
 */
export async function vectorsOf(
  { versions, embeddings }: Pick<VisionContext, 'versions' | 'embeddings'>,
  { tenant, name, model, dimensions }: CollectionRow,
  placed: readonly Placed[],
  signal: AbortSignal,
): Promise<Float32Array[]> {
  const contents: Content[] = placed.flatMap(({ path, meaning: { image, text } }) => [
    ...(image ? [{ field: `${path}image.content`, image: image.content }] : []),
    ...(text !== '' ? [{ field: `${path}text`, text }] : []),
  ]);
  let embedded: Iterator<Float32Array> = [].values();
  if (contents.length > 0) {
    if (model === '') {
      throw failedPrecondition(
        `collection '${name}' has no model: give vectors, or make a collection with a model`,
        { reason: 'NO_EMBEDDING_MODEL' },
      );
    }
    const version = await versions.find(tenant, model, 'collection', signal);
    embedded = (await embeddings.embed(version, contents, signal)).values();
  }
  const next = (): Float32Array => embedded.next().value as Float32Array;
  return placed.map(({ path, meaning: { image, text, imageWeight = 0.5, vector } }) => {
    if (vector.length > 0) {
      if (vector.length !== dimensions) {
        throw invalidArgument(
          `${path}vector`,
          `has ${vector.length} values; those of collection '${name}' have ${dimensions}`,
        );
      }
      return unitVector(`${path}vector`, vector);
    }
    const first = next();
    return image && text !== '' ? mixed(`${path}image_weight`, first, next(), imageWeight) : first;
  });
}
