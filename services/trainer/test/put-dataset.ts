import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';

/** What a data set is put into: a client of the registry itself, or of a gateway before it. */
export interface DatasetRegistry {
  createModel(request: { name: string; kind: Kind }): Promise<unknown>;
  createVersion(request: { name: string }): Promise<{ version?: Version | undefined }>;
  putArtifact(request: {
    header: { name: string; version: string; path: string };
    content: Uint8Array;
  }): Promise<unknown>;
  commitVersion(
    request: { name: string; version: string },
    options: { timeoutMs: number },
  ): Promise<{ version?: Version | undefined }>;
}

/** Files that are on their way at once. */
const PUT_AT_ONCE = 16;
/** Every file is checked: a busy machine takes its time. */
const COMMIT_TIMEOUT_MS = 120_000;

/** Makes a READY data set of these files by their paths. @returns `models:/name/version` */
export async function putDataset(
  registry: DatasetRegistry,
  name: string,
  files: ReadonlyMap<string, Buffer>,
): Promise<string> {
  await registry.createModel({ name, kind: Kind.DATASET });
  const { version } = (await registry.createVersion({ name })).version!;
  const all = [...files];
  for (let at = 0; at < all.length; at += PUT_AT_ONCE)
    await Promise.all(
      all
        .slice(at, at + PUT_AT_ONCE)
        .map(([path, content]) => registry.putArtifact({ header: { name, version, path }, content })),
    );
  const committed = await registry.commitVersion({ name, version }, { timeoutMs: COMMIT_TIMEOUT_MS });
  return committed.version!.ref;
}
