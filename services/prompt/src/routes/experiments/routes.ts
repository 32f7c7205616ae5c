import type { PromptContext } from '../../context.ts';
import { getExperiment } from './get-experiment.ts';
import { listExperiments } from './list-experiments.ts';
import { promoteExperiment } from './promote-experiment.ts';
import { returnExperiment } from './return-experiment.ts';
import { startExperiment } from './start-experiment.ts';

/** The methods of PromptExperimentService. */
export const experimentRoutes = (context: PromptContext) => ({
  startExperiment: startExperiment(context),
  getExperiment: getExperiment(context),
  listExperiments: listExperiments(context),
  promoteExperiment: promoteExperiment(context),
  returnExperiment: returnExperiment(context),
});
