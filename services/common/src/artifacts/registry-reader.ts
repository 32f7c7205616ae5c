import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { Identity } from '../identity/identity.ts';
import type { RpcClient } from '../rpc/client.ts';
import type { ReadRange } from './parallel-fetch.ts';
import type { VersionFile } from './version-cache.ts';

/**
 * Reads files of a version from the registry, whole or in part, in somebody's name. Others may wait for what is read, so
 * that nothing else of the call is passed on for which it is: not its deadline, and not its cancellation.
 * @param identity undefined for the client's own
 */
export function registryReader(
  registry: RpcClient<typeof RegistryService>,
  { name, version }: { name: string; version: string },
  identity: Identity | undefined,
): ReadRange<VersionFile> {
  return async function* ({ path }, offset, length, signal) {
    const range = length === 0 ? {} : { offset: BigInt(offset), length: BigInt(length) };
    const request = { name, version, path, ...range };
    for await (const { chunk } of registry.downloadArtifact(request, {
      ...(identity && { identity }),
      signal,
    }))
      yield chunk;
  };
}
