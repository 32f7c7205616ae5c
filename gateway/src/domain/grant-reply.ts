import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type ResourceGrant,
  ResourceGrantSchema,
} from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import type { ResourceGrantRow } from '../db/access-entities.ts';

/** A right as callers see it. */
export const grantReply = ({
  resource,
  grantee,
  level,
  author,
  createdMs,
}: ResourceGrantRow): ResourceGrant =>
  create(ResourceGrantSchema, {
    ...{ resource, grantee, right: level, author, createTime: timestampFromMs(createdMs) },
  });
