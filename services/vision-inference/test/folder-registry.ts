import { createHash } from 'node:crypto';
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { notFound } from '@landfall/common/errors/errors.ts';
import type { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';

/** A registry of folders: `name/version` to its folder, `name@alias` to a version. A server of its own, as the real one. */
export class FolderRegistry implements AsyncDisposable {
  readonly folders = new Map<string, string>();
  readonly aliases = new Map<string, string>();
  /** Files read so far. */
  downloads = 0;
  #server: RpcServer | undefined;

  /** @returns its address */
  async start(signer: IdentitySigner): Promise<string> {
    this.#server = new RpcServer({ signer, logger: createLogger('test', 'silent') }).add(RegistryService, {
      getVersion: ({ name, version }) => ({ version: this.#version(name, version) }),
      downloadArtifact: ({ name, version, path }) => this.#read(name, version, path),
    });
    return `127.0.0.1:${await this.#server.listen('127.0.0.1', 0)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.drain(0);
  }

  #version(name: string, wanted: string) {
    const version = wanted.startsWith('@') ? (this.aliases.get(`${name}${wanted}`) ?? '') : wanted;
    const folder = this.#folder(name, version);
    const files = readdirSync(folder).map((path) => {
      const content = readFileSync(join(folder, path));
      const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
      return { path, digest, sizeBytes: BigInt(content.length) };
    });
    return { name, version, kind: Kind.BASE, state: VersionState.READY, manifest: { files } };
  }

  async *#read(name: string, version: string, path: string) {
    this.downloads++;
    for await (const chunk of createReadStream(join(this.#folder(name, version), path)))
      yield { chunk: chunk as Buffer };
  }

  #folder(name: string, version: string): string {
    const folder = this.folders.get(`${name}/${version}`);
    if (!folder) throw notFound(`models:/${name}/${version} does not exist`);
    return folder;
  }
}
