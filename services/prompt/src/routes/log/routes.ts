import type { PromptContext } from '../../context.ts';
import { computeScores } from './compute-scores.ts';
import { deleteLogPolicy } from './delete-log-policy.ts';
import { deleteScoringPolicy } from './delete-scoring-policy.ts';
import { listLogPolicies } from './list-log-policies.ts';
import { listScoringPolicies } from './list-scoring-policies.ts';
import { setLogPolicy } from './set-log-policy.ts';
import { setScoringPolicy } from './set-scoring-policy.ts';

/** The methods of PromptLogService. */
export const logRoutes = (context: PromptContext) => ({
  setLogPolicy: setLogPolicy(context),
  listLogPolicies: listLogPolicies(context),
  deleteLogPolicy: deleteLogPolicy(context),
  setScoringPolicy: setScoringPolicy(context),
  listScoringPolicies: listScoringPolicies(context),
  deleteScoringPolicy: deleteScoringPolicy(context),
  computeScores: computeScores(context),
});
