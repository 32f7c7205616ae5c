import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Key, KeySchema } from '@landfall/proto/landfall/gateway/v1/key_pb.js';
import type { ApiKey } from '../db/entities.ts';

/** A key as callers see it. */
export function keyReply(key: ApiKey): Key {
  const time = (ms: number | null | undefined) => (ms == null ? {} : timestampFromMs(ms));
  const { id, name, prefix, role, tenant } = key;
  return create(KeySchema, {
    id,
    name,
    prefix,
    role,
    tenant,
    createTime: timestampFromMs(key.createdMs),
    ...(key.expiresMs == null ? {} : { expireTime: time(key.expiresMs) }),
    ...(key.revokedMs == null ? {} : { revokeTime: time(key.revokedMs) }),
    ...(key.lastUseMs == null ? {} : { lastUseTime: time(key.lastUseMs) }),
  });
}
