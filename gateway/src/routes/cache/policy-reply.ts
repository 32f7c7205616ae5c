import { create, fromJsonString } from '@bufbuild/protobuf';
import {
  type CachePolicy,
  CachePolicySchema as PolicyMessage,
} from '@landfall/proto/landfall/gateway/v1/cache_pb.js';

/** A policy as callers see it; one that keeps nothing where none was set. */
export function policyReply(kept: { body: string; revision: number } | null): CachePolicy {
  const policy = kept ? fromJsonString(PolicyMessage, kept.body) : create(PolicyMessage);
  return { ...policy, revision: BigInt(kept?.revision ?? 0) };
}
