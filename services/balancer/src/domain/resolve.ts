import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallOptions, RpcClient } from '@landfall/common/rpc/client.ts';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { adapterWithoutBase, modelNotReady, notServable } from '../errors.ts';
import { parseReference } from './reference.ts';

/** A model and the base that serves it, both as `models:/name/version`. */
export interface ResolvedModel {
  model: string;
  base: string;
}

/** A model, and which replicas answer for it: those of its base with these settings. */
export interface Served extends ResolvedModel {
  /** See domain/variant.ts. */
  variant: string;
}

/**
 * What a reference stands for in the registry, asked in the caller's name.
 * @param drafts whether a version that is not READY will do
 * @throws LandfallError NOT_FOUND for an unknown one, FAILED_PRECONDITION for one that can't be served.
 */
export async function resolveModel(
  registry: RpcClient<typeof RegistryService>,
  ref: string,
  options: CallOptions,
  drafts = false,
): Promise<ResolvedModel> {
  const { version } = await registry.getVersion(parseReference(ref, 'model'), options);
  const model = version!.ref;
  if (version!.state !== VersionState.READY && !drafts) throw modelNotReady(model);
  if (version!.kind === Kind.DATASET) throw notServable(model);
  if (version!.kind !== Kind.ADAPTER) return { model, base: model };
  const named = version!.lineage?.base;
  if (!named) throw adapterWithoutBase(model);
  try {
    const { version: base } = await registry.getVersion(parseReference(named, 'lineage.base'), options);
    if (base!.kind !== Kind.BASE) throw adapterWithoutBase(model);
    if (base!.state !== VersionState.READY) throw modelNotReady(base!.ref);
    return { model, base: base!.ref };
  } catch (error) {
    const unknown = [status.NOT_FOUND, status.INVALID_ARGUMENT];
    if (error instanceof LandfallError && unknown.includes(error.code)) throw adapterWithoutBase(model);
    throw error;
  }
}
