import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type GetPromptResponse,
  GetPromptResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';

const NAME = /^[0-9a-f]{64}$/;

/** What was read, kept on disk: a file for each read, readable by its owner only, which a newer one replaces whole. */
export class LabelFiles {
  readonly #folder: string;

  /** @param folder made where it is missing */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @returns undefined where there is none, or what is there can't be read */
  async load(key: string): Promise<GetPromptResponse | undefined> {
    try {
      const bytes = await readFile(this.#file(key));
      // The digest tells a file that a crash has left half written.
      const body = bytes.subarray(32);
      if (!bytes.subarray(0, 32).equals(digest(body))) return undefined;
      return fromBinary(GetPromptResponseSchema, body);
    } catch {
      return undefined;
    }
  }

  async save(key: string, reply: GetPromptResponse): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const body = toBinary(GetPromptResponseSchema, reply);
    const part = `${this.#file(key)}.${randomUUID()}`;
    await writeFile(part, Buffer.concat([digest(body), body]), { mode: 0o600 });
    await rename(part, this.#file(key));
  }

  async remove(key: string): Promise<void> {
    await rm(this.#file(key), { force: true });
  }

  /** Removes what nobody has read for so long, and what a crash has left. */
  async sweep(olderThanMs: number): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const file = join(this.#folder, name);
      const age = Date.now() - ((await stat(file).catch(() => undefined))?.mtimeMs ?? 0);
      if (!NAME.test(name) || age > olderThanMs) await rm(file, { force: true });
    }
  }

  #file(key: string): string {
    return join(this.#folder, createHash('sha256').update(key).digest('hex'));
  }
}

const digest = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();
