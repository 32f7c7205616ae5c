import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { CallOptions, RpcClient } from '../rpc/client.ts';
import type { ReadRange } from './parallel-fetch.ts';
import type { VersionFile } from './version-cache.ts';

/** Reads files of a version from the registry, whole or in part. */
export function registryReader(
  registry: RpcClient<typeof RegistryService>,
  { name, version }: { name: string; version: string },
  options: CallOptions,
): ReadRange<VersionFile> {
  return async function* ({ path }, offset, length, signal) {
    const range = length === 0 ? {} : { offset: BigInt(offset), length: BigInt(length) };
    const request = { name, version, path, ...range };
    for await (const { chunk } of registry.downloadArtifact(request, { ...options, signal })) yield chunk;
  };
}
