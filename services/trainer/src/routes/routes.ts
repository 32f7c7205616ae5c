import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import type { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { WorkerService } from '@landfall/proto/landfall/trainer/v1/worker_service_pb.js';
import type { TrainerContext } from '../context.ts';
import { cancelJob } from './cancel-job.ts';
import { cancelTuningPlan } from './cancel-tuning-plan.ts';
import { compareVersions } from './compare-versions.ts';
import { createJob } from './create-job.ts';
import { createTuningPlan } from './create-tuning-plan.ts';
import { evaluate } from './evaluate.ts';
import { getJob } from './get-job.ts';
import { getTuningPlan } from './get-tuning-plan.ts';
import { listJobs } from './list-jobs.ts';
import { listTuningPlans } from './list-tuning-plans.ts';
import { prepareDataset } from './prepare-dataset.ts';
import { recommendMethod } from './recommend-method.ts';
import { watchJob } from './watch-job.ts';
import { watchTuningPlan } from './watch-tuning-plan.ts';
import { finishAttemptRoute } from './worker/finish-attempt.ts';
import { reportProgressRoute } from './worker/report-progress.ts';
import { startAttemptRoute } from './worker/start-attempt.ts';

export function trainerRoutes(context: TrainerContext): Implementation<typeof TrainerService> {
  return {
    recommendMethod: recommendMethod(context),
    prepareDataset: prepareDataset(context),
    createJob: createJob(context),
    getJob: getJob(context),
    listJobs: listJobs(context),
    cancelJob: cancelJob(context),
    watchJob: watchJob(context),
    evaluate: evaluate(context),
    compareVersions: compareVersions(context),
    createTuningPlan: createTuningPlan(context),
    watchTuningPlan: watchTuningPlan(context),
    getTuningPlan: getTuningPlan(context),
    listTuningPlans: listTuningPlans(context),
    cancelTuningPlan: cancelTuningPlan(context),
  };
}

export function workerRoutes(context: TrainerContext): Implementation<typeof WorkerService> {
  return {
    startAttempt: startAttemptRoute(context),
    reportProgress: reportProgressRoute(context),
    finishAttempt: finishAttemptRoute(context),
  };
}
