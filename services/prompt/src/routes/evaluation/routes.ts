import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import type { PromptEvaluationService } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import type { PromptContext } from '../../context.ts';
import { cancelEvaluation } from './cancel-evaluation.ts';
import { cancelOptimization } from './cancel-optimization.ts';
import { checkGates } from './check-gates.ts';
import { compareEvaluations } from './compare-evaluations.ts';
import { createTestSet } from './create-test-set.ts';
import { deleteDriftWatch } from './delete-drift-watch.ts';
import { getDriftWatch } from './get-drift-watch.ts';
import { getEvaluation } from './get-evaluation.ts';
import { getOptimization } from './get-optimization.ts';
import { getTestSet } from './get-test-set.ts';
import { listEvaluationRows } from './list-evaluation-rows.ts';
import { listEvaluations } from './list-evaluations.ts';
import { listOptimizationTries } from './list-optimization-tries.ts';
import { listOptimizations } from './list-optimizations.ts';
import { listTestSetRows } from './list-test-set-rows.ts';
import { listTestSets } from './list-test-sets.ts';
import { setDriftWatch } from './set-drift-watch.ts';
import { setGates } from './set-gates.ts';
import { watchEvaluation } from './watch-evaluation.ts';
import { watchOptimization } from './watch-optimization.ts';

/** All methods of PromptEvaluationService. */
export const evaluationRoutes = (context: PromptContext): Implementation<typeof PromptEvaluationService> => ({
  createTestSet: createTestSet(context),
  getTestSet: getTestSet(context),
  listTestSets: listTestSets(context),
  listTestSetRows: listTestSetRows(context),
  getEvaluation: getEvaluation(context),
  listEvaluations: listEvaluations(context),
  watchEvaluation: watchEvaluation(context),
  cancelEvaluation: cancelEvaluation(context),
  listEvaluationRows: listEvaluationRows(context),
  compareEvaluations: compareEvaluations(context),
  setGates: setGates(context),
  checkGates: checkGates(context),
  deleteDriftWatch: deleteDriftWatch(context),
  getDriftWatch: getDriftWatch(context),
  setDriftWatch: setDriftWatch(context),
  cancelOptimization: cancelOptimization(context),
  getOptimization: getOptimization(context),
  listOptimizations: listOptimizations(context),
  listOptimizationTries: listOptimizationTries(context),
  watchOptimization: watchOptimization(context),
});
