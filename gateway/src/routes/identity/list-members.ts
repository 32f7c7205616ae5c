import { create } from '@bufbuild/protobuf';
import { afterKey, NAME, page, pageSize } from '@landfall/common/rpc/pages.ts';
import {
  type ListMembersRequest,
  type ListMembersResponse,
  ListMembersResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { CertificateSchema, MemberSchema } from '../../db/identity-entities.ts';
import { memberReply } from '../../domain/identity-replies.ts';

export const listMembers: OwnRoute<ListMembersRequest, ListMembersResponse> =
  ({ database }) =>
  async (request, { tenant }) => {
    const size = pageSize(request.pageSize);
    const where = { tenant, subject: { $gt: afterKey(request.pageToken, NAME) ?? '' } };
    const { found, certificates } = await database.read(async (em) => {
      const found = await em.find(MemberSchema, where, { orderBy: { subject: 'asc' }, limit: size + 1 });
      const subjects = found.map(({ subject }) => subject);
      const ofThese = { tenant, subject: { $in: subjects } };
      return {
        found,
        certificates: await em.find(CertificateSchema, ofThese, { orderBy: { name: 'asc' } }),
      };
    });
    const { rows, nextPageToken } = page(found, size, ({ subject }) => subject);
    const members = rows.map((row) =>
      memberReply(
        row,
        certificates.filter(({ subject }) => subject === row.subject).map(({ name }) => name),
      ),
    );
    return create(ListMembersResponseSchema, { members, nextPageToken });
  };
