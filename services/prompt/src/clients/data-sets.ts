import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallOptions, RpcClient } from '@landfall/common/rpc/client.ts';
import { Kind, type Version, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';

/** Test sets live in the database: a data set of training size is not one. */
const LARGEST_BYTES = 64 * 1024 * 1024;
const ROWS_FILE = /\.jsonl?$/i;

/** A file with rows. */
export interface RowsFile {
  path: string;
  text: string;
}

/** A data set as the registry has it. */
export interface DataSet {
  /** `models:/name/version`, resolved. */
  ref: string;
  name: string;
  files: RowsFile[];
}

/** Data sets in the registry. */
export class DataSets {
  readonly #registry: RpcClient<typeof RegistryService> | undefined;

  /** @param registry undefined where none is configured */
  constructor(registry: RpcClient<typeof RegistryService> | undefined) {
    this.#registry = registry;
  }

  /**
   * The files of a data set that hold rows.
   * @param ref `models:/name/version` or `models:/name@alias`
   * @throws LandfallError INVALID_ARGUMENT on `field`, NOT_FOUND, FAILED_PRECONDITION for what is no data set or not ready
   */
  async read(ref: string, field: string, options: CallOptions): Promise<DataSet> {
    const [, name, version] = /^models:\/([^@/]+)\/?(@?[^/]+)$/.exec(ref) ?? [];
    if (!name || !version) {
      throw invalidArgument(field, `'${ref}' is not models:/name/version or models:/name@alias`);
    }
    if (!this.#registry) {
      throw failedPrecondition('this service knows no registry: LANDFALL_REGISTRY_URL is not set', {
        reason: 'NO_REGISTRY',
      });
    }
    const found = (await this.#registry.getVersion({ name, version }, options)).version!;
    requireDataSet(found);
    const files: RowsFile[] = [];
    for (const { path } of found.manifest?.files ?? []) {
      if (ROWS_FILE.test(path)) files.push({ path, text: await this.#text(found, path, options) });
    }
    if (files.length === 0) throw failedPrecondition(`${found.ref} has no .jsonl or .json file`);
    return { ref: found.ref, name, files };
  }

  async #text({ name, version, ref }: Version, path: string, options: CallOptions): Promise<string> {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const { chunk } of this.#registry!.downloadArtifact({ name, version, path }, options)) {
      parts.push(chunk);
      bytes += chunk.length;
      if (bytes > LARGEST_BYTES) {
        throw failedPrecondition(`${path} of ${ref} has more than ${LARGEST_BYTES} bytes; take a part of it`);
      }
    }
    return Buffer.concat(parts).toString('utf8');
  }
}

function requireDataSet({ ref, kind, state }: Version): void {
  if (kind !== Kind.DATASET) throw failedPrecondition(`${ref} is no data set`, { reason: 'WRONG_KIND' });
  if (state !== VersionState.READY) {
    throw failedPrecondition(`${ref} is not ready yet: commit it first`, { reason: 'NOT_READY' });
  }
}
