import type { DescField } from '@bufbuild/protobuf';

const BYTES = 12;

/** Fields of bytes that are encoded images. */
const IMAGES: ReadonlySet<string> = new Set([
  'landfall.text.v1.ChatMessage.images',
  'landfall.vision.v1.Image.content',
  'landfall.vision.v1.Report.heat_map',
]);

/** Fields of bytes that are none: pieces of the files of models and data sets, and of tokens. */
const DATA: ReadonlySet<string> = new Set([
  'landfall.registry.v1.DownloadArtifactResponse.chunk',
  'landfall.registry.v1.PutArtifactRequest.content',
  'landfall.registry.v1.UploadArtifactRequest.chunk',
  'landfall.text.v1.TokenLogprob.bytes',
]);

export const isBytes = ({ scalar }: DescField): boolean => scalar === BYTES;

/**
 * Whether a field of bytes holds images, which policies may have read, or other data; undefined where nobody has said: a
 * test fails for such a field of any public contract.
 */
export function kindOfBytes(field: DescField): 'image' | 'data' | undefined {
  const name = `${field.parent.typeName}.${field.name}`;
  if (IMAGES.has(name)) return 'image';
  return DATA.has(name) ? 'data' : undefined;
}
