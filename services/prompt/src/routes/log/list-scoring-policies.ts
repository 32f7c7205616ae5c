import type { LogRoute } from '../../context.ts';
import { ScoringPolicySchema } from '../../db/log-entities.ts';
import { requireRight } from '../../domain/rights.ts';
import { readScoringPolicy } from '../../domain/scoring.ts';

export const listScoringPolicies: LogRoute<'listScoringPolicies'> =
  ({ database }) =>
  ({ prompt }, { identity }) =>
    database.read(async (em) => {
      await requireRight(em, identity, prompt, 'viewer');
      const where = { tenant: identity.tenant, prompt };
      const rows = await em.find(ScoringPolicySchema, where, { orderBy: { name: 'asc' } });
      return { policies: rows.map(readScoringPolicy) };
    });
