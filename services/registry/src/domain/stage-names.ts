import { Stage } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { StageName } from '../db/life-entities.ts';

const STAGES: Record<StageName, Stage> = {
  development: Stage.DEVELOPMENT,
  staging: Stage.STAGING,
  production: Stage.PRODUCTION,
  archived: Stage.ARCHIVED,
};

export const stageValue = (name: StageName): Stage => STAGES[name];

/** The stored name of a stage; undefined for STAGE_UNSPECIFIED. */
export function stageName(stage: Stage): StageName | undefined {
  return (Object.keys(STAGES) as StageName[]).find((name) => STAGES[name] === stage);
}

/** Whether a version of one stage has reached another. What is archived has reached none. */
export function stageReached(stage: StageName, wanted: StageName): boolean {
  return stage !== 'archived' && STAGES[stage] >= STAGES[wanted];
}
