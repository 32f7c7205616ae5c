import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type Group,
  GroupSchema,
  type Member,
  MemberSchema,
  type Tenant,
  TenantSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_pb.js';
import { type GroupRow, type MemberRow, namesOf, type TenantRow } from '../db/identity-entities.ts';

/** A tenant as callers see it. */
export const tenantReply = ({ name, displayName, disabled, createdMs }: TenantRow): Tenant =>
  create(TenantSchema, { name, displayName, disabled, createTime: timestampFromMs(createdMs) });

/** A member as callers see them. */
export const memberReply = (row: MemberRow, certificates: readonly string[]): Member =>
  create(MemberSchema, {
    ...{ subject: row.subject, displayName: row.displayName, disabled: row.disabled },
    ...{ roles: namesOf(row.roles), groups: namesOf(row.memberOf), certificates: [...certificates] },
    createTime: timestampFromMs(row.createdMs),
  });

/** A group as callers see it. */
export const groupReply = ({ name, roles }: GroupRow): Group =>
  create(GroupSchema, { name, roles: namesOf(roles) });
