import { type Job, JobSchema, JobState, Stage } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  type PlanRound,
  PlanStage,
  PlanState,
  type TuningPlan,
} from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import type { Session } from './command.ts';
import { bar, duration, member, sparkline } from './render.ts';

/** Follows a job to its end: a bar on a terminal, elsewhere a line for each change. Returns the ended job. */
export async function followJob(session: Session, id: string, out = process.stderr): Promise<Job> {
  const { clients, signal } = session;
  const losses: number[] = [];
  let job: Job | undefined;
  let shown = '';
  try {
    for await (const reply of clients.trainer.watchJob({ id }, { signal })) {
      job = reply.job!;
      losses.push(...job.loss.map(({ value }) => value));
      const text = progressLine(job, losses);
      if (out.isTTY) out.write(`\r\x1b[2K${text.slice(0, out.columns || 110)}`);
      else if (text !== shown) out.write(`${text}\n`);
      shown = text;
    }
  } finally {
    if (out.isTTY && shown !== '') out.write('\n');
    if (signal.aborted)
      out.write(`the job goes on; follow it again with: npm run cli -- jobs follow ${id}\n`);
  }
  session.print(JobSchema, job!, () => outcome(job!));
  if (job!.state !== JobState.SUCCEEDED) throw new Error(`the job ${member(JobState, job!.state)}`);
  return job!;
}

/** `train 42 %  step 160/380  1,240 tokens/s  loss 0.8312  rate 4.1e-3  41 s left  ▇▅▃▂▁` */
export function progressLine({ state, progress }: Job, losses: readonly number[]): string {
  if (!progress || state === JobState.QUEUED) return 'waiting for a worker';
  const { stage, percent, step, totalSteps, tokensPerSecond, loss, learningRate, remainingSeconds } =
    progress;
  const parts = [`${bar(percent / 100)} ${percent.toFixed(0).padStart(3)} %`, member(Stage, stage)];
  if (totalSteps > 0) parts.push(`step ${step}/${totalSteps}`);
  if (stage === Stage.EVALUATE) parts.push(`row ${progress.evaluatedRows}/${progress.totalRows}`);
  else if (step > 0) {
    parts.push(`${Math.round(tokensPerSecond)} tokens/s`);
    if (progress.rowsPerSecond > 0) parts.push(`${progress.rowsPerSecond.toFixed(1)} rows/s`);
    parts.push(`loss ${loss.toFixed(4)}`);
    parts.push(`rate ${learningRate.toExponential(1)}`);
  }
  if (remainingSeconds >= 0) parts.push(`${duration(remainingSeconds)} left`);
  return `${parts.join('  ')}  ${sparkline(losses)}`.trimEnd();
}

function outcome(job: Job): string {
  const lines = [`${member(JobState, job.state)}: ${job.outputVersion || job.failure || job.id}`];
  for (const [name, result] of [
    ['base', job.baseResult],
    ['tuned', job.tunedResult],
  ] as const) {
    if (result?.retrieval) {
      const { imageToTextRecallAt1, textToImageRecallAt1, classes, zeroShotAccuracy } = result.retrieval;
      const zeroShot = classes > 0 ? `  zero-shot ${zeroShotAccuracy.toFixed(3)}` : '';
      lines.push(
        `${name}  recall at 1: image to text ${imageToTextRecallAt1.toFixed(3)}, text to image ` +
          `${textToImageRecallAt1.toFixed(3)}${zeroShot}  rows ${result.rows}`,
      );
    } else if (result)
      lines.push(
        `${name}  BLEU ${result.bleu.toFixed(2)}  chrF ${result.chrf.toFixed(2)}  rows ${result.rows}`,
      );
  }
  lines.push(...job.warnings.map((warning) => `note: ${warning}`));
  return lines.join('\n');
}

/** Follows a tuning plan to its end, a line for each round's beginning and result. */
export async function followPlan(session: Session, id: string): Promise<TuningPlan> {
  let plan: TuningPlan | undefined;
  const told = new Set<string>();
  const tell = (key: string, text: string) => {
    if (!told.has(key) && !session.json) session.line(text);
    told.add(key);
  };
  for await (const reply of session.clients.trainer.watchTuningPlan({ id }, { signal: session.signal })) {
    plan = reply.plan!;
    for (const round of plan.rounds) {
      tell(`${round.number} begins`, `round ${round.number}: ${round.action}: ${round.reason}`);
      if (round.version !== '' || round.value !== 0) tell(`${round.number} ends`, result(plan.metric, round));
    }
    if (plan.state === PlanState.RUNNING)
      tell(`stage ${plan.rounds.length} ${plan.stage}`, `  ${member(PlanStage, plan.stage)}`);
  }
  return plan!;
}

function result(metric: string, { value, version }: PlanRound): string {
  return `  ${metric} ${value.toFixed(2)}${version ? `  ${version}` : ''}`;
}
