import { create } from '@bufbuild/protobuf';
import {
  type DeleteMemberRequest,
  type DeleteMemberResponse,
  DeleteMemberResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { CertificateSchema, MemberSchema } from '../../db/identity-entities.ts';
import { audit } from '../../domain/audit.ts';

/** Safe to repeat by its nature. */
export const deleteMember: OwnRoute<DeleteMemberRequest, DeleteMemberResponse> =
  ({ database, callers }) =>
  async ({ subject }, caller) => {
    const { tenant } = caller;
    await database.transaction(async (em) => {
      const gone = await em.nativeDelete(MemberSchema, { tenant, subject });
      if (gone === 0) return;
      await em.nativeDelete(CertificateSchema, { tenant, subject });
      await audit(em, caller, 'landfall.gateway.v1.IdentityService/DeleteMember', `members/${subject}`);
    });
    callers.forget();
    return create(DeleteMemberResponseSchema);
  };
