/** Model versions as the registry knows them, and their files on the local disk. */

import { status } from '@grpc/grpc-js';
import { registryReader } from '@landfall/common/artifacts/registry-reader.ts';
import {
  contentDigest,
  type VersionCache,
  type VersionFile,
} from '@landfall/common/artifacts/version-cache.ts';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import { type Version, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { formatModelRef, type ModelRef } from './ref.ts';

/** How long an alias is taken to point where it last did. */
const ALIAS_MS = 1000;
/** Versions remembered. */
const MOST_REMEMBERED = 1000;

export class VersionSource {
  readonly #registry: RpcClient<typeof RegistryService>;
  readonly #identity: Identity;
  readonly #cache: VersionCache;
  readonly #known = new Map<string, { version: Version; until: number }>();

  /** @param identity in whose name versions are read: this service's, within the replica's tenant. */
  constructor(registry: RpcClient<typeof RegistryService>, identity: Identity, cache: VersionCache) {
    this.#registry = registry;
    this.#identity = identity;
    this.#cache = cache;
  }

  /** Reads a version; READY ones never change and are remembered. Undefined when there is none. */
  async find(ref: ModelRef, signal: AbortSignal): Promise<Version | undefined> {
    const key = formatModelRef(ref);
    const known = this.#known.get(key);
    if (known && known.until > Date.now()) return known.version;
    let version: Version | undefined;
    try {
      ({ version } = await this.#registry.getVersion(ref, { identity: this.#identity, signal }));
    } catch (error) {
      if (error instanceof LandfallError && error.code === status.NOT_FOUND) return undefined;
      throw error;
    }
    if (version?.state === VersionState.READY) {
      const until = ref.version.startsWith('@') ? Date.now() + ALIAS_MS : Number.POSITIVE_INFINITY;
      if (this.#known.size >= MOST_REMEMBERED) this.#known.delete(this.#known.keys().next().value!);
      this.#known.set(key, { version, until });
    }
    return version;
  }

  /**
   * The local folder with a version's files, fetched and checked against their digests where needed.
   * @param pin for files that stay open or are opened again while this process lives
   */
  folder(version: Version, signal: AbortSignal, { pin = false } = {}): Promise<string> {
    const read = registryReader(this.#registry, version, this.#identity);
    return this.#cache.folder(filesOf(version), read, signal, { pin });
  }
}

function filesOf(version: Version): VersionFile[] {
  const files = version.manifest?.files ?? [];
  return files.map((f) => ({ path: f.path, digest: f.digest, sizeBytes: Number(f.sizeBytes) }));
}

/**
 * What an adapter version is called in the model's thread. A draft may still change, so its content is part of the
 * name.
 */
export function adapterKey(version: Version): string {
  const ref = formatModelRef(version);
  return version.state === VersionState.READY ? ref : `${ref}#${contentDigest(filesOf(version))}`;
}

/** `models:/name/version` of an adapter key. */
export function refOfKey(key: string): string {
  return key.split('#')[0]!;
}
