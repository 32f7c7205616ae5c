import { create, fromJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type ContentPolicyVersion,
  ContentPolicyVersionSchema,
  ContentPolicySchema as PolicyMessage,
} from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import type { KeptContentPolicy } from '../../db/content-entities.ts';

/** A version as callers see it. */
export function versionReply(kept: KeptContentPolicy, active: number | undefined): ContentPolicyVersion {
  return create(ContentPolicyVersionSchema, {
    version: BigInt(kept.version),
    policy: fromJsonString(PolicyMessage, kept.body),
    author: kept.author,
    createTime: timestampFromMs(kept.createdMs),
    active: kept.version === active,
  });
}
