import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { looksLikePickle } from './pickle.ts';

/** Names whose usual content runs code when it is loaded, or that no engine of the mesh reads. */
const REFUSED_NAMES: readonly [RegExp, string][] = [
  [
    /\.(bin|pt|pth|pkl|pickle|ckpt|joblib|dill)$/i,
    'is a pickle by its name; save the weights as safetensors',
  ],
  [/\.(gguf|ggml)$/i, 'is a GGUF file; give the Hugging Face folder with safetensors instead'],
  [/\.ort$/i, 'is an ONNX Runtime flat buffer, whose content can not be checked; give the .onnx file'],
  [
    /\.(h5|hdf5|keras|npy|npz|mar|nemo)$/i,
    'is of a format that can carry code; save the weights as safetensors',
  ],
  [/\.(zip|tar|tgz|gz|bz2|xz|zst|7z|rar|jar|whl)$/i, 'is an archive; upload the files it holds'],
];

type Magic = { bytes: readonly number[]; at?: number; what: string };

const ascii = (text: string) => [...Buffer.from(text, 'latin1')];

/** First bytes that tell a refused format under any name. */
const REFUSED_MAGIC: readonly Magic[] = [
  { bytes: ascii('GGUF'), what: 'is a GGUF file; give the Hugging Face folder with safetensors instead' },
  { bytes: ascii('tjgg'), what: 'is a GGML file; give the Hugging Face folder with safetensors instead' },
  { bytes: ascii('lmgg'), what: 'is a GGML file; give the Hugging Face folder with safetensors instead' },
  {
    bytes: ascii('PK\x03\x04'),
    what: 'is a zip archive or a PyTorch checkpoint; upload its files as safetensors',
  },
  { bytes: ascii('PK\x05\x06'), what: 'is an empty zip archive; upload the files themselves' },
  { bytes: [0x1f, 0x8b], what: 'is a gzip archive; upload the files it holds' },
  { bytes: ascii('BZh'), what: 'is a bzip2 archive; upload the files it holds' },
  { bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], what: 'is an xz archive; upload the files it holds' },
  { bytes: [0x28, 0xb5, 0x2f, 0xfd], what: 'is a zstd archive; upload the files it holds' },
  { bytes: [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], what: 'is a 7z archive; upload the files it holds' },
  { bytes: ascii('Rar!\x1a\x07'), what: 'is a rar archive; upload the files it holds' },
  { bytes: ascii('ustar'), at: 257, what: 'is a tar archive; upload the files it holds' },
  { bytes: ascii('\x89HDF\r\n\x1a\n'), what: 'is an HDF5 file, which can carry code; use safetensors' },
  { bytes: ascii('\x93NUMPY'), what: 'is a NumPy file, which can carry pickles; use safetensors' },
];

/** How much of a file is looked at; a pickle whose code lies further has at least its header here. */
export const HEAD_BYTES = 256 * 1024;

/** Throws INVALID_ARGUMENT for a name that is refused whatever the content is. */
export function checkFileName(path: string, field = 'path'): void {
  for (const [pattern, what] of REFUSED_NAMES) {
    if (pattern.test(path)) throw invalidArgument(field, `'${path}' ${what}`);
  }
}

/**
 * Throws INVALID_ARGUMENT for content that is refused whatever the name is, by its first HEAD_BYTES.
 * @param whole whether `head` is all of the content
 */
export function checkHead(path: string, head: Uint8Array, whole: boolean): void {
  for (const { bytes, at = 0, what } of REFUSED_MAGIC) {
    if (bytes.every((byte, index) => head[at + index] === byte)) {
      throw invalidArgument('content', `'${path}' ${what}`);
    }
  }
  if (looksLikePickle(head, !whole)) {
    throw invalidArgument('content', `'${path}' is a Python pickle; save the weights as safetensors`);
  }
}
