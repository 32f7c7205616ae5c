import type { EvaluationRoute } from '../../context.ts';
import { findVersion } from '../../domain/find.ts';
import { requireRight } from '../../domain/rights.ts';
import { judgeGates } from '../../evaluation/gates.ts';

export const checkGates: EvaluationRoute<'checkGates'> =
  ({ database }) =>
  ({ name, label, version: asked }, { identity }) =>
    database.read(async (em) => {
      const { tenant } = identity;
      await requireRight(em, identity, name, 'viewer');
      const { version } = await findVersion(em, tenant, name, asked);
      const verdicts = await judgeGates(em, { tenant, name, label }, version.version);
      return { passed: verdicts.every(({ passed }) => passed), verdicts };
    });
