import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { dataLoss } from '@landfall/common/errors/errors.ts';
import type { CallOptions, RpcClient } from '@landfall/common/rpc/client.ts';
import type { File, Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';

/** READY versions on the local disk, by manifest digest: their content can't change, so it is fetched once. */
export class VersionCache {
  readonly #client: RpcClient<typeof RegistryService>;
  readonly #folder: string;
  readonly #running = new Map<string, Promise<string>>();

  constructor(client: RpcClient<typeof RegistryService>, folder: string) {
    this.#client = client;
    this.#folder = folder;
  }

  /** @throws LandfallError DATA_LOSS when what arrives is not what the manifest names */
  folder(version: Version, options: CallOptions): Promise<string> {
    const target = path.join(this.#folder, version.digest.replace(/^sha256:/, ''));
    if (existsSync(target)) return Promise.resolve(target);
    // Two jobs over the same base wait for one download.
    let running = this.#running.get(target);
    if (!running) {
      running = this.#fetch(version, target, options).finally(() => this.#running.delete(target));
      this.#running.set(target, running);
    }
    return running;
  }

  async #fetch(version: Version, target: string, options: CallOptions): Promise<string> {
    const partial = `${target}.${randomUUID()}.partial`;
    try {
      for (const file of version.manifest?.files ?? []) await this.#download(version, file, partial, options);
      await mkdir(partial, { recursive: true });
      await rename(partial, target).catch(async (error) => {
        // Another process has finished the same version in between.
        if (!existsSync(target)) throw error;
      });
      return target;
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
  }

  async #download(version: Version, file: File, folder: string, options: CallOptions): Promise<void> {
    const target = path.join(folder, file.path);
    // The registry checks paths; a file outside the folder would still be ours to answer for.
    if (path.relative(folder, target).startsWith('..'))
      throw dataLoss(`${version.ref} names a file outside it`);
    await mkdir(path.dirname(target), { recursive: true });
    const hash = createHash('sha256');
    const handle = await open(target, 'w');
    try {
      const request = { name: version.name, version: version.version, path: file.path };
      for await (const { chunk } of this.#client.downloadArtifact(request, options)) {
        hash.update(chunk);
        await handle.write(chunk);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (`sha256:${hash.digest('hex')}` !== file.digest) {
      throw dataLoss(`${version.ref}: ${file.path} did not arrive as the manifest names it`);
    }
  }
}
