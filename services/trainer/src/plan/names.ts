import { PlanStage, PlanState } from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import type { PlanStageName, PlanStateName } from '../db/plan-entities.ts';

/** States as the contract names them. */
export const STATES: Record<PlanStateName, PlanState> = {
  running: PlanState.RUNNING,
  succeeded: PlanState.SUCCEEDED,
  fell_short: PlanState.FELL_SHORT,
  failed: PlanState.FAILED,
  cancelled: PlanState.CANCELLED,
};

/** Stages as the contract names them. */
export const STAGES: Record<PlanStageName, PlanStage> = {
  choose: PlanStage.CHOOSE,
  prepare: PlanStage.PREPARE,
  train: PlanStage.TRAIN,
  decide: PlanStage.DECIDE,
  deploy: PlanStage.DEPLOY,
};
