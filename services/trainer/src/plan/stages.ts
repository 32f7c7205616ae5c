import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { JobSpecSchema, TaskType } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { type PlanRound, PlanRoundSchema } from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import type { TrainerContext } from '../context.ts';
import { PlanEntity, PlanRoundEntity, type PlanRow, type PlanStageName } from '../db/plan-entities.ts';
import { hasEnded } from '../domain/job-reply.ts';
import { cancelJob, lockJob } from '../domain/job-transitions.ts';
import { type ResolvedSpec, resolveSpec } from '../domain/resolve-spec.ts';
import { methodOf } from '../domain/training-spec.ts';
import { trainerIdentity } from '../identity.ts';
import { insertResolved } from '../routes/create-job.ts';
import { budgetLeft, tooLarge } from './budget.ts';
import { evidenceOf, noteResult, readCurves } from './collect.ts';
import { decide } from './decide.ts';
import { bestRound } from './evidence.ts';
import { chooseFirst } from './first-round.ts';
import { widenDataset } from './paraphrase.ts';
import { preparePlanData } from './prepare.ts';
import { promote } from './promote.ts';
import { refusalOfRound } from './refusals.ts';
import { changePlan, endPlan, readPlan, readRound, readRounds, writePlan, writeRound } from './store.ts';
import { survey } from './survey.ts';
import { tokensOfJob } from './tokens.ts';

/** Does a stage and writes down what comes next; false where the plan waits for its job. */
type Stage = (service: TrainerContext, row: PlanRow, signal: AbortSignal) => Promise<boolean>;

const NO_CURVES = { losses: [], evaluationLosses: [] };

/**
 * Takes a plan as far as it goes now. Everything it knows is in the database, every stage may be begun again, and each
 * one's result is written only when nobody else has changed the plan meanwhile.
 */
export async function advancePlan(service: TrainerContext, id: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const row = await service.database.read((em) => em.findOne(PlanEntity, { id }));
    if (row?.state !== 'running') return;
    const more = await STAGES[row.stage](service, row, signal);
    service.changes.touch(id);
    if (!more) return;
  }
}

const prepare: Stage = async (service, row, signal) => {
  const plan = readPlan(row);
  if (budgetLeft(row, plan).seconds <= 0) return spent(service, row);
  const identity = trainerIdentity(row.tenant);
  const { train, validation } = await preparePlanData(service, row.id, plan, identity, signal);
  await changePlan(service.database, row, (_em, now) => {
    plan.preparedDataset = train;
    plan.spec!.evaluation!.dataset = validation;
    now.plan = writePlan(plan);
    now.stage = 'choose';
  });
  return true;
};

const choose: Stage = async (service, row, signal) => {
  const plan = readPlan(row);
  const left = budgetLeft(row, plan);
  if (left.seconds <= 0) return spent(service, row);
  const identity = trainerIdentity(row.tenant);
  const call = { identity, signal };
  const spec = plan.spec!;
  if (row.next === '') {
    const trainDataset = plan.preparedDataset || spec.trainDataset;
    const taskType = plan.options?.taskType || TaskType.GENERATION;
    const asked = create(JobSpecSchema, { ...spec, trainDataset });
    const { resolved, round } = await chooseFirst(service, asked, taskType, call);
    const { seconds } = resolved.estimate;
    const why = tooLarge(left, { seconds, tokens: await tokensNeeded(resolved) });
    if (why) {
      const conclusion = `the first round was not begun: ${why}`;
      await changePlan(service.database, row, (_em, now) => endPlan(now, 'fell_short', conclusion));
    } else await beginRound(service, row, round, resolved);
    return true;
  }
  const next = readRound(row.next);
  try {
    if (row.paraphrase) {
      const widening = {
        key: `${row.id}-${next.number}`,
        dataset: next.trainDataset,
        model: plan.options!.paraphraseModel,
        validation: spec.evaluation!.dataset,
      };
      next.trainDataset = await widenDataset(service, widening, identity, signal);
      await changePlan(service.database, row, (_em, now) => {
        now.next = writeRound(next);
        now.paraphrase = false;
      });
      return true;
    }
    const { method, config, trainDataset } = next;
    const asked = create(JobSpecSchema, { ...spec, method, config: config!, trainDataset });
    const resolved = await resolveSpec(service, asked, call);
    // Its time was estimated from the rounds before; its rows may have become longer.
    const why = tooLarge(left, { seconds: 0, tokens: await tokensNeeded(resolved) });
    if (why) await refuseRound(service, row, next, why);
    else await beginRound(service, row, next, resolved);
  } catch (error) {
    const refusal = refusalOfRound(error);
    if (refusal === undefined) throw error;
    await refuseRound(service, row, next, refusal);
  }
  return true;

  async function tokensNeeded(resolved: ResolvedSpec): Promise<number> {
    return Number.isFinite(left.tokens) ? tokensOfJob(service, resolved.spec, call) : 0;
  }
};

/** The round, its job and the job's place in the queue in one transaction: there is never one without the others. */
async function beginRound(
  service: TrainerContext,
  row: PlanRow,
  round: PlanRound,
  resolved: ResolvedSpec,
): Promise<void> {
  const { method, config, trainDataset } = resolved.spec;
  const begun = await changePlan(service.database, row, async (em, now) => {
    const job = await insertResolved(em, row.tenant, resolved);
    const full = create(PlanRoundSchema, { ...round, method, config: config!, trainDataset, jobId: job.id });
    await keepRound(em, row.id, full);
    now.next = '';
    now.stage = 'train';
  });
  const { number, action } = round;
  if (begun) service.logger.info({ plan_id: row.id, round: number, action }, 'a round of a plan begins');
}

/** A round that could not be begun counts as one that failed, so that something else is tried. */
async function refuseRound(
  service: TrainerContext,
  row: PlanRow,
  round: PlanRound,
  failure: string,
): Promise<void> {
  await changePlan(service.database, row, async (em, now) => {
    await keepRound(em, row.id, create(PlanRoundSchema, { ...round, failure, done: true }));
    now.next = '';
    now.paraphrase = false;
    now.stage = 'decide';
  });
}

async function keepRound(em: EntityManager, planId: string, round: PlanRound): Promise<void> {
  const { number, jobId } = round;
  await em.upsert(PlanRoundEntity, { planId, number, jobId, round: writeRound(round) });
}

/** The end of the time before a job: what the rounds so far have given is the decision's to say. */
async function spent(service: TrainerContext, row: PlanRow): Promise<boolean> {
  await changePlan(service.database, row, async (em, now) => {
    const rounds = await readRounds(em, row);
    now.next = '';
    now.paraphrase = false;
    if (rounds.length > 0) now.stage = 'decide';
    else endPlan(now, 'fell_short', 'the time was spent before the first round');
  });
  return true;
}

const train: Stage = async (service, row) => {
  const { database, changes } = service;
  const plan = readPlan(row);
  const overdue = budgetLeft(row, plan).seconds <= 0;
  const last = (await database.read((em) => readRounds(em, row))).at(-1)!;
  if (last.job && !hasEnded(last.job.state)) {
    if (overdue && !last.job.cancelRequested) {
      const { id } = last.job;
      await database.transaction(async (em) => cancelJob(em, await lockJob(em, id, row.tenant)));
      changes.touch(id);
      service.logger.info({ plan_id: row.id, job_id: id }, 'a job is ended: its plan has spent its time');
    }
    return false;
  }
  await changePlan(database, row, async (em, now) => {
    const rounds = await readRounds(em, row);
    const { round, job } = rounds.at(-1)!;
    if (job) noteResult(round, job, await readCurves(em, job), plan.metric);
    const outOfTime = job?.state === 'cancelled' && overdue;
    if (outOfTime) round.failure = 'it was ended when the time of the plan was spent';
    await keepRound(em, row.id, round);
    plan.tokens = rounds.reduce((sum, { round: { tokens } }) => sum + tokens, 0n);
    const evidence = rounds.map((one) => evidenceOf(one.round, one.job, NO_CURVES, plan.metric));
    const best = bestRound(plan.metric, evidence);
    if (best >= 0) {
      plan.bestValue = evidence[best]!.value!;
      plan.bestVersion = rounds[best]!.round.version;
    }
    now.plan = writePlan(plan);
    now.stage = 'decide';
    if (job?.state === 'cancelled' && !outOfTime)
      endPlan(now, 'cancelled', `the job of round ${round.number} was cancelled`);
  });
  return true;
};

const decideNext: Stage = async (service, row, signal) => {
  const { database, logger } = service;
  const plan = readPlan(row);
  const spec = plan.spec!;
  const dataset = plan.preparedDataset || spec.trainDataset;
  const paraphraseModel = plan.options?.paraphraseModel ?? '';
  const known = await database.read(async (em) => {
    const rounds = [];
    for (const { round, job } of await readRounds(em, row)) {
      const curves = job ? await readCurves(em, job) : NO_CURVES;
      rounds.push({ round, evidence: evidenceOf(round, job, curves, plan.metric) });
    }
    return rounds;
  });
  const widened = known.some(
    ({ round }) => round.trainDataset !== dataset || (round.action === 'augment' && round.jobId === ''),
  );
  const call = { identity: trainerIdentity(row.tenant), signal };
  const taskType = plan.options?.taskType || TaskType.GENERATION;
  const asked = create(JobSpecSchema, { ...spec, trainDataset: dataset });
  const { alternatives, chinese } = await survey(service, asked, taskType, call);
  const left = budgetLeft(row, plan);
  const decision = decide({
    metric: plan.metric,
    threshold: plan.threshold,
    rounds: known.map(({ evidence }) => evidence),
    maxRounds: plan.maxRounds,
    secondsLeft: left.seconds,
    tokensLeft: left.tokens,
    alternatives,
    chinese,
    canParaphrase: paraphraseModel !== '' && !widened,
  });
  await changePlan(database, row, (_em, now) => {
    if (decision.kind === 'next') {
      const { method, config, action, reason } = decision;
      const next = { method: methodOf(method), config, action, reason, trainDataset: decision.dataset };
      now.next = writeRound(create(PlanRoundSchema, { ...next, number: known.length + 1 }));
      now.paraphrase = decision.paraphrase;
      now.stage = 'choose';
      return;
    }
    const best = known[decision.best];
    if (best) {
      plan.bestValue = best.round.value;
      plan.bestVersion = best.round.version;
    }
    plan.conclusion = decision.reason;
    now.plan = writePlan(plan);
    if (decision.outcome === 'met') now.stage = 'deploy';
    else endPlan(now, 'fell_short', decision.reason);
  });
  logger.info({ plan_id: row.id, decision: decision.kind, why: decision.reason }, 'a plan decides');
  return true;
};

const deploy: Stage = async (service, row, signal) => {
  const plan = readPlan(row);
  await promote(service, row.id, plan, trainerIdentity(row.tenant), signal);
  await changePlan(service.database, row, (_em, now) => {
    plan.deployment = plan.options?.deployment ?? '';
    now.plan = writePlan(plan);
    endPlan(now, 'succeeded', plan.conclusion);
  });
  return true;
};

const STAGES: Record<PlanStageName, Stage> = { prepare, choose, train, decide: decideNext, deploy };
