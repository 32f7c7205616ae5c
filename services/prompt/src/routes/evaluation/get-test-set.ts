import type { EvaluationRoute } from '../../context.ts';
import { findTestSet, testSetReply } from '../../test-sets/store.ts';
import { requireVisible } from '../../test-sets/visible.ts';

export const getTestSet: EvaluationRoute<'getTestSet'> =
  ({ database }) =>
  ({ name, version }, { identity }) =>
    database.read(async (em) => {
      const set = await findTestSet(em, identity.tenant, name, version);
      await requireVisible(em, identity, set);
      return { testSet: testSetReply(set) };
    });
