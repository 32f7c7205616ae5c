import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Key, KeySchema } from '@landfall/proto/landfall/gateway/v1/key_pb.js';
import type { ApiKey } from '../db/entities.ts';
import { namesOf } from '../db/identity-entities.ts';
import { groupsOf } from '../keys/key-store.ts';

/** A key as callers see it. */
export function keyReply(key: ApiKey): Key {
  const time = (ms: number | null | undefined) => (ms == null ? {} : timestampFromMs(ms));
  const { id, name, prefix, role, tenant, owner, successorId } = key;
  return create(KeySchema, {
    id,
    name,
    prefix,
    role,
    tenant,
    groups: groupsOf(key),
    roles: namesOf(key.roles),
    scopes: namesOf(key.scopes),
    owner,
    successorId,
    createTime: timestampFromMs(key.createdMs),
    ...(key.expiresMs == null ? {} : { expireTime: time(key.expiresMs) }),
    ...(key.revokedMs == null ? {} : { revokeTime: time(key.revokedMs) }),
    ...(key.lastUseMs == null ? {} : { lastUseTime: time(key.lastUseMs) }),
  });
}
