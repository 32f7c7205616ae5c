import { create } from '@bufbuild/protobuf';
import { notFound } from '@landfall/common/errors/errors.ts';
import {
  type GetMemberRequest,
  type GetMemberResponse,
  GetMemberResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { CertificateSchema, MemberSchema } from '../../db/identity-entities.ts';
import { memberReply } from '../../domain/identity-replies.ts';

export const getMember: OwnRoute<GetMemberRequest, GetMemberResponse> =
  ({ database }) =>
  async ({ subject }, { tenant }) => {
    const member = await database.read(async (em) => {
      const row = await em.findOne(MemberSchema, { tenant, subject });
      if (!row) throw notFound(`${subject} is not kept here`);
      const certificates = await em.find(
        CertificateSchema,
        { tenant, subject },
        { orderBy: { name: 'asc' } },
      );
      return memberReply(
        row,
        certificates.map(({ name }) => name),
      );
    });
    return create(GetMemberResponseSchema, { member });
  };
