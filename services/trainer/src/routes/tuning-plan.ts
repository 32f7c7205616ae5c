import { unimplemented } from '@landfall/common/errors/errors.ts';
import type { Route } from '../context.ts';

const reason =
  'tuning plans are not offered yet: create a job, look at its scores, and create the next one with other settings';

export const createTuningPlan: Route<'createTuningPlan'> = () => () => {
  throw unimplemented(reason);
};

export const watchTuningPlan: Route<'watchTuningPlan'> = () => () => {
  throw unimplemented(reason);
};

export const getTuningPlan: Route<'getTuningPlan'> = () => () => {
  throw unimplemented(reason);
};

export const listTuningPlans: Route<'listTuningPlans'> = () => () => {
  throw unimplemented(reason);
};

export const cancelTuningPlan: Route<'cancelTuningPlan'> = () => () => {
  throw unimplemented(reason);
};
