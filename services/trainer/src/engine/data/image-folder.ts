import { createHash } from 'node:crypto';
import { readFile, realpath } from 'node:fs/promises';
import path from 'node:path';
import { decodeImage } from '@landfall/images/decode.ts';
import { ImageError } from '@landfall/images/errors.ts';
import type { ExampleImage } from './example.ts';
import type { IssueCode } from './issues.ts';

/** An image, or what keeps it from being shown. */
export type FoundImage = ExampleImage | { code: IssueCode; message: string };

/**
 * Images that could be decoded, by their digests, the last of them: the same bytes are decoded once, whichever row, data
 * set or call shows them.
 */
const sound = new Set<string>();
const MOST_SOUND = 200_000;

/** @throws ImageError */
async function requireSound(digest: string, bytes: Uint8Array): Promise<void> {
  if (sound.has(digest)) return;
  await decodeImage(bytes);
  if (sound.size >= MOST_SOUND) sound.delete(sound.values().next().value!);
  sound.add(digest);
}

/** The images of a data set. Each is looked at once, however many rows show it. */
export class ImageFolder {
  readonly #folder: string;
  readonly #found = new Map<string, Promise<FoundImage>>();
  readonly #images = new Map<string, ExampleImage>();

  /** @param folder of the data set, which paths begin from */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Reads and decodes an image. @param name a path that stays in the folder */
  find(name: string): Promise<FoundImage> {
    let found = this.#found.get(name);
    if (!found) {
      found = this.#look(name);
      this.#found.set(name, found);
    }
    return found;
  }

  /** An image that was found. */
  image(name: string): ExampleImage {
    return this.#images.get(name)!;
  }

  async #look(name: string): Promise<FoundImage> {
    const missing = { code: 'missing_image', message: 'the data set has no such image' } as const;
    try {
      const root = await realpath(this.#folder);
      const file = await realpath(path.join(root, name));
      // A link may lead out where the path does not.
      if (!file.startsWith(root + path.sep)) return missing;
      const bytes = await readFile(file);
      const digest = createHash('sha256').update(bytes).digest('hex');
      await requireSound(digest, bytes);
      const image = { path: name, file, digest };
      this.#images.set(name, image);
      return image;
    } catch (error) {
      if (error instanceof ImageError) return { code: 'broken_image', message: error.message };
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return missing;
      throw error;
    }
  }
}
