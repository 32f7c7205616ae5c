import type { LogRoute } from '../../context.ts';
import { logPoliciesOn, logPolicyReply } from '../../domain/log-policies.ts';
import { requireOn } from '../../domain/requested-target.ts';

export const listLogPolicies: LogRoute<'listLogPolicies'> =
  ({ database }) =>
  ({ target }, { identity }) =>
    database.read(async (em) => {
      const targets = await requireOn(em, identity, target!, 'viewer');
      return { policies: (await logPoliciesOn(em, identity.tenant, targets)).map(logPolicyReply) };
    });
