import { status } from '@grpc/grpc-js';
import { failedPrecondition, invalidArgument, LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallOptions, RpcClient } from '@landfall/common/rpc/client.ts';
import { Kind, type Version, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';

const CHUNK_BYTES = 512 * 1024;
const UPLOAD_TIMEOUT_MS = 300_000;

/** Data sets in the registry: images to be inspected, and what reviews have corrected. */
export class DataSets {
  readonly #registry: RpcClient<typeof RegistryService> | undefined;

  /** @param registry undefined where none is configured */
  constructor(registry: RpcClient<typeof RegistryService> | undefined) {
    this.#registry = registry;
  }

  /** @throws LandfallError INVALID_ARGUMENT on `field`, NOT_FOUND, FAILED_PRECONDITION for what is no READY data set */
  async find(ref: string, field: string, options: CallOptions): Promise<Version> {
    const [, name, version] = /^models:\/([^@/]+)\/?(@?[^/]+)$/.exec(ref) ?? [];
    if (!name || !version) throw invalidArgument(field, `'${ref}' is not models:/name/version`);
    const found = (await this.#known.getVersion({ name, version }, options)).version!;
    if (found.kind !== Kind.DATASET) {
      throw failedPrecondition(`${found.ref} is no data set`, { reason: 'WRONG_KIND' });
    }
    if (found.state !== VersionState.READY) {
      throw failedPrecondition(`${found.ref} is not ready yet: commit it first`, { reason: 'NOT_READY' });
    }
    return found;
  }

  async read({ name, version }: Version, path: string, options: CallOptions): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for await (const { chunk } of this.#known.downloadArtifact({ name, version, path }, options))
      parts.push(chunk);
    return Buffer.concat(parts);
  }

  /**
   * A draft of a data set's next version; the data set is made where there is none. The same token gives the same draft,
   * READY where it has been committed since.
   */
  async draft(name: string, requestId: string, description: string, options: CallOptions): Promise<Version> {
    try {
      await this.#known.createModel({ name, kind: Kind.DATASET, description }, options);
    } catch (error) {
      if (!(error instanceof LandfallError) || error.code !== status.ALREADY_EXISTS) throw error;
      const { model } = await this.#known.getModel({ name }, options);
      if (model!.kind !== Kind.DATASET) {
        throw failedPrecondition(`'${name}' is no data set; take another name`, { reason: 'WRONG_KIND' });
      }
    }
    const { version } = await this.#known.createVersion({ name, requestId, description }, options);
    return (await this.#known.getVersion({ name, version: version!.version }, options)).version!;
  }

  async upload(
    { name, version }: Version,
    path: string,
    content: Uint8Array,
    options: CallOptions,
  ): Promise<void> {
    const value = { name, version, path, sizeBytes: BigInt(content.length) };
    async function* parts() {
      yield { part: { case: 'header' as const, value } };
      for (let at = 0; at < content.length; at += CHUNK_BYTES) {
        yield { part: { case: 'chunk' as const, value: content.subarray(at, at + CHUNK_BYTES) } };
      }
    }
    await this.#known.uploadArtifact(parts(), { timeoutMs: UPLOAD_TIMEOUT_MS, ...options });
  }

  async commit({ name, version }: Version, requestId: string, options: CallOptions): Promise<Version> {
    return (await this.#known.commitVersion({ name, version, requestId }, options)).version!;
  }

  get #known(): RpcClient<typeof RegistryService> {
    if (this.#registry) return this.#registry;
    throw failedPrecondition('this service knows no registry: LANDFALL_REGISTRY_URL is not set', {
      reason: 'NO_REGISTRY',
    });
  }
}
