import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { alreadyExists } from '@landfall/common/errors/errors.ts';
import {
  type SetMemberRequest,
  SetMemberRequestSchema,
  type SetMemberResponse,
  SetMemberResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { requireRolesWithin } from '../../access/within.ts';
import type { OwnRoute } from '../../context.ts';
import { CertificateSchema, lines, MemberSchema } from '../../db/identity-entities.ts';
import { audit } from '../../domain/audit.ts';
import { memberReply } from '../../domain/identity-replies.ts';

const METHOD = 'landfall.gateway.v1.IdentityService/SetMember';

export const setMember: OwnRoute<SetMemberRequest, SetMemberResponse> =
  ({ database, callers, directory }) =>
  async (request, caller) => {
    const { subject, displayName, roles, groups, certificates, disabled } = request.member!;
    const { tenant } = caller;
    requireRolesWithin(caller, roles, 'member.roles');
    const groupRoles = await directory.groups(tenant);
    const ofGroups = groups.flatMap((group) => groupRoles.get(group) ?? []);
    requireRolesWithin(caller, ofGroups, 'member.groups');
    const call = {
      ...{ tenant, method: METHOD, requestId: request.requestId },
      ...{ input: SetMemberRequestSchema, output: SetMemberResponseSchema },
    };
    const reply = await database.transaction((em) =>
      once(em, call, request, async () => {
        const taken = await em.find(CertificateSchema, { name: { $in: certificates } });
        if (taken.some((each) => each.tenant !== tenant || each.subject !== subject)) {
          throw alreadyExists('a certificate belongs to another member', { reason: 'CERTIFICATE_TAKEN' });
        }
        const before = await em.findOne(MemberSchema, { tenant, subject });
        const row = {
          ...{ tenant, subject, displayName, roles: lines(roles), memberOf: lines(groups), disabled },
          createdMs: before?.createdMs ?? Date.now(),
        };
        await em.upsert(MemberSchema, row);
        await em.nativeDelete(CertificateSchema, { tenant, subject });
        for (const name of certificates) await em.insert(CertificateSchema, { name, tenant, subject });
        await audit(em, caller, METHOD, `members/${subject}`);
        return create(SetMemberResponseSchema, { member: memberReply(row, certificates) });
      }),
    );
    callers.forget();
    return reply;
  };
