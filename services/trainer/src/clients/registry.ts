import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { status } from '@grpc/grpc-js';
import { registryReader } from '@landfall/common/artifacts/registry-reader.ts';
import { VersionCache } from '@landfall/common/artifacts/version-cache.ts';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallOptions, RpcClient } from '@landfall/common/rpc/client.ts';
import {
  Kind,
  type Lineage,
  type Version,
  VersionState,
} from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { formatReference, parseReference } from '../domain/references.ts';
import { notReady, wrongKind } from '../errors.ts';

const KIND_NAMES: Record<Kind, string> = {
  [Kind.UNSPECIFIED]: 'something unknown',
  [Kind.BASE]: 'a base model',
  [Kind.ADAPTER]: 'an adapter',
  [Kind.DATASET]: 'a data set',
};
const CHUNK_BYTES = 256 * 1024;
const UPLOAD_TIMEOUT_MS = 600_000;
const CACHE_BYTES = 256 * 1024 ** 3;
/** Longer than any job works on files without asking for them again. */
const KEEP_CACHED_MS = 7 * 86_400_000;

/** A file to be uploaded, from disk or from memory. */
export type UploadSource = { path: string; file: string } | { path: string; content: Uint8Array };

/** What the trainer asks of the registry. */
export class RegistryGateway {
  readonly #client: RpcClient<typeof RegistryService>;
  readonly #cache: VersionCache;

  /** @param cacheFolder where downloaded versions are kept */
  constructor(client: RpcClient<typeof RegistryService>, cacheFolder: string) {
    this.#client = client;
    this.#cache = new VersionCache(cacheFolder, { limitBytes: CACHE_BYTES, keepMs: KEEP_CACHED_MS });
  }

  /**
   * A READY version of a kind.
   *
   * @throws LandfallError INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION for a draft or another kind
   */
  async ready(ref: string, kind: Kind, field: string, options: CallOptions): Promise<Version> {
    const version = await this.version(ref, field, options);
    if (version.kind !== kind) throw wrongKind(version.ref, KIND_NAMES[version.kind], KIND_NAMES[kind]);
    if (version.state !== VersionState.READY) throw notReady(version.ref);
    return version;
  }

  async version(ref: string, field: string, options: CallOptions): Promise<Version> {
    const { name, version } = parseReference(ref, field);
    const reply = await this.#client.getVersion({ name, version }, options);
    return reply.version!;
  }

  /**
   * A folder with all files of a READY version, from the cache where its digest is known. A download may be shared with
   * other calls: it ends when the last of them has left, and its deadline is its own.
   */
  folder(version: Version, { identity, signal, context }: CallOptions): Promise<string> {
    const files = (version.manifest?.files ?? []).map(({ path, digest, sizeBytes }) => ({
      path,
      digest,
      sizeBytes: Number(sizeBytes),
    }));
    const reader = registryReader(this.#client, version, identity ?? context?.identity);
    const callers = [signal, context?.signal].filter((each) => each !== undefined);
    return this.#cache.folder(files, reader, AbortSignal.any(callers));
  }

  /** One file of a version, read into memory. */
  async read(version: Version, path: string, options: CallOptions): Promise<Buffer | undefined> {
    if (!version.manifest?.files.some((file) => file.path === path)) return undefined;
    const parts: Uint8Array[] = [];
    const request = { name: version.name, version: version.version, path };
    for await (const { chunk } of this.#client.downloadArtifact(request, options)) parts.push(chunk);
    return Buffer.concat(parts);
  }

  /** @throws LandfallError FAILED_PRECONDITION when the name is taken by a model of another kind */
  async requireFree(name: string, kind: Kind, options: CallOptions): Promise<void> {
    try {
      const { model } = await this.#client.getModel({ name }, options);
      if (model!.kind !== kind) throw wrongKind(name, KIND_NAMES[model!.kind], KIND_NAMES[kind]);
    } catch (error) {
      if (!(error instanceof LandfallError) || error.code !== status.NOT_FOUND) throw error;
    }
  }

  /** Creates the model unless it is there; one of another kind is FAILED_PRECONDITION. */
  async ensureModel(name: string, kind: Kind, description: string, options: CallOptions): Promise<void> {
    try {
      await this.#client.createModel({ name, kind, description }, options);
    } catch (error) {
      if (!(error instanceof LandfallError) || error.code !== status.ALREADY_EXISTS) throw error;
      await this.requireFree(name, kind, options);
    }
  }

  /** @param requestId the same one gives the same draft again */
  async draft(
    name: string,
    requestId: string,
    description: string,
    lineage: Lineage,
    options: CallOptions,
  ): Promise<Version> {
    const reply = await this.#client.createVersion({ name, requestId, description, lineage }, options);
    return reply.version!;
  }

  async upload(version: Version, source: UploadSource, options: CallOptions): Promise<void> {
    const size = 'file' in source ? (await stat(source.file)).size : source.content.length;
    const header = {
      name: version.name,
      version: version.version,
      path: source.path,
      sizeBytes: BigInt(size),
    };
    async function* parts() {
      yield { part: { case: 'header' as const, value: header } };
      const chunks =
        'file' in source
          ? createReadStream(source.file, { highWaterMark: CHUNK_BYTES })
          : slices(source.content, CHUNK_BYTES);
      for await (const chunk of chunks as AsyncIterable<Uint8Array>) {
        yield { part: { case: 'chunk' as const, value: chunk } };
      }
    }
    await this.#client.uploadArtifact(parts(), { timeoutMs: UPLOAD_TIMEOUT_MS, ...options });
  }

  /** Makes a draft READY; doing it again changes nothing. */
  async commit(
    version: Version,
    requestId: string,
    metrics: Record<string, number>,
    lineage: Lineage,
    options: CallOptions,
  ): Promise<Version> {
    const { name } = version;
    const request = { name, version: version.version, requestId, metrics, lineage };
    const reply = await this.#client.commitVersion(request, { timeoutMs: UPLOAD_TIMEOUT_MS, ...options });
    return reply.version!;
  }

  /** Moves an alias of a model; a repeat with the same token changes nothing, wherever it points by then. */
  async setAlias(version: Version, alias: string, requestId: string, options: CallOptions): Promise<void> {
    await this.#client.setAlias({ name: version.name, alias, version: version.version, requestId }, options);
  }
}

function* slices(content: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
}

/** `models:/name/version` of a version. */
export function refOf(version: Version): string {
  return version.ref || formatReference(version.name, version.version);
}
