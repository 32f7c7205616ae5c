import { clone, create } from '@bufbuild/protobuf';
import { type Progress, ProgressSchema, Stage } from '@landfall/proto/landfall/trainer/v1/job_pb.js';

/** Where each stage begins, as a part of the whole job in percent; training takes most of it. */
const BEGINS: Record<Stage, number> = {
  [Stage.UNSPECIFIED]: 0,
  [Stage.DOWNLOAD]: 0,
  [Stage.PREPARE]: 2,
  [Stage.TRAIN]: 4,
  [Stage.UPLOAD]: 74,
  [Stage.EVALUATE]: 76,
  [Stage.REGISTER]: 98,
};
const ENDS: Record<Stage, number> = {
  ...BEGINS,
  [Stage.DOWNLOAD]: 2,
  [Stage.PREPARE]: 4,
  [Stage.TRAIN]: 74,
  [Stage.UPLOAD]: 76,
  [Stage.EVALUATE]: 98,
  [Stage.REGISTER]: 100,
};

/** A fresh progress; what an earlier attempt knew of training stays. */
export function beginProgress(before: Progress | undefined): Progress {
  const progress = before ? clone(ProgressSchema, before) : create(ProgressSchema);
  enterStage(progress, Stage.DOWNLOAD);
  return progress;
}

/** Enters a stage. */
export function enterStage(progress: Progress, stage: Stage): void {
  progress.stage = stage;
  progress.percent = BEGINS[stage];
  if (stage !== Stage.TRAIN) progress.remainingSeconds = -1;
}

/** @param done share of the stage, 0 to 1 */
export function within(progress: Progress, done: number): void {
  const begin = BEGINS[progress.stage];
  progress.percent = begin + (ENDS[progress.stage] - begin) * Math.min(1, Math.max(0, done));
}
