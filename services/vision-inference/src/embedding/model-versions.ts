import { status } from '@grpc/grpc-js';
import { registryReader } from '@landfall/common/artifacts/registry-reader.ts';
import {
  contentDigest,
  type VersionCache,
  type VersionFile,
} from '@landfall/common/artifacts/version-cache.ts';
import { failedPrecondition, LandfallError } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { type Version, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { modelNotFound } from '../errors.ts';

/** How long an alias is taken to point where it last did. */
const ALIAS_MS = 1000;
/** Versions remembered. */
const MOST_REMEMBERED = 1000;

/** A version of a model that can be fetched. */
export interface ModelVersion {
  /** `models:/name/version` */
  ref: string;
  /** Of the files. */
  digest: string;
  tenant: string;
  version: Version;
}

/** Versions as the registry knows them, and their files on the local disk. */
export class ModelVersions {
  readonly #registry: RpcClient<typeof RegistryService> | undefined;
  readonly #cache: VersionCache;
  readonly #known = new Map<string, { found: ModelVersion; until: number }>();

  constructor(registry: RpcClient<typeof RegistryService> | undefined, cache: VersionCache) {
    this.#registry = registry;
    this.#cache = cache;
  }

  /**
   * @param ref `models:/name/version` or `models:/name@alias`
   * @param field of the request that holds it
   * @throws LandfallError NOT_FOUND, FAILED_PRECONDITION for one that is not ready
   */
  async find(tenant: string, ref: string, field: string, signal: AbortSignal): Promise<ModelVersion> {
    const key = `${tenant}\n${ref}`;
    const known = this.#known.get(key);
    if (known && known.until > Date.now()) return known.found;
    const [, name = '', separator, tail = ''] = /^models:\/([^/@]+)([/@])(.+)$/.exec(ref) ?? [];
    const version = await this.#read(
      tenant,
      { name, version: separator === '@' ? `@${tail}` : tail },
      signal,
    );
    if (!version) throw modelNotFound(field, ref);
    if (version.state !== VersionState.READY)
      throw failedPrecondition(`${ref} is not ready`, { reason: 'MODEL_NOT_READY' });
    const digest = contentDigest(filesOf(version));
    const found = { ref: `models:/${name}/${version.version}`, digest, tenant, version };
    if (this.#known.size >= MOST_REMEMBERED) this.#known.delete(this.#known.keys().next().value!);
    const until = separator === '@' ? Date.now() + ALIAS_MS : Number.POSITIVE_INFINITY;
    this.#known.set(key, { found, until });
    return found;
  }

  /** The local folder with a version's files, fetched where needed, held against their digests, and kept. */
  folder({ tenant, version }: ModelVersion, signal: AbortSignal): Promise<string> {
    const read = registryReader(this.#client(), version, identityIn(tenant));
    return this.#cache.folder(filesOf(version), read, signal, { pin: true });
  }

  async #read(tenant: string, request: { name: string; version: string }, signal: AbortSignal) {
    try {
      return (await this.#client().getVersion(request, { identity: identityIn(tenant), signal })).version;
    } catch (error) {
      if (error instanceof LandfallError && error.code === status.NOT_FOUND) return undefined;
      throw error;
    }
  }

  #client(): RpcClient<typeof RegistryService> {
    if (this.#registry) return this.#registry;
    throw failedPrecondition('this service has no registry to take models from: set LANDFALL_REGISTRY_URL', {
      reason: 'NO_REGISTRY',
    });
  }
}

/** In whose name models are read: rights on what a request names are checked before. */
const identityIn = (tenant: string): Identity => ({
  ...{ subject: 'service:vision-inference', tenant, role: Role.SERVICE },
});

function filesOf(version: Version): VersionFile[] {
  const files = version.manifest?.files ?? [];
  return files.map(({ path, digest, sizeBytes }) => ({ path, digest, sizeBytes: Number(sizeBytes) }));
}
