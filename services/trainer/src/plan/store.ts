import { create, fromJsonString, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import {
  type PlanRound,
  PlanRoundSchema,
  type TuningPlan,
  TuningPlanSchema,
} from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import { LockMode } from '@mikro-orm/core';
import { v7 as uuidv7 } from 'uuid';
import type { JobRow } from '../db/entities.ts';
import {
  PlanEntity,
  PlanRoundEntity,
  type PlanRow,
  type PlanStageName,
  type PlanStateName,
} from '../db/plan-entities.ts';
import { findJob } from '../domain/job-transitions.ts';
import { planNotFound } from '../errors.ts';
import { noteResult, readCurves } from './collect.ts';
import { STAGES, STATES } from './names.ts';

/** What is kept of a plan beside its columns: no rounds, no state. */
export const readPlan = ({ plan }: PlanRow): TuningPlan => fromJsonString(TuningPlanSchema, plan);
export const writePlan = (plan: TuningPlan): string =>
  toJsonString(TuningPlanSchema, { ...plan, rounds: [] });
export const readRound = (text: string): PlanRound => fromJsonString(PlanRoundSchema, text);
export const writeRound = (round: PlanRound): string => toJsonString(PlanRoundSchema, round);

/** A new plan, in the caller's transaction. */
export async function insertPlan(
  em: EntityManager,
  tenant: string,
  plan: TuningPlan,
  stage: PlanStageName,
): Promise<PlanRow> {
  const row = em.create(PlanEntity, {
    id: uuidv7(),
    tenant,
    state: 'running',
    stage,
    plan: writePlan(plan),
    next: '',
    paraphrase: false,
    createdMs: Date.now(),
    endedMs: null,
    revision: 1,
  });
  await em.persist(row).flush();
  return row;
}

/** The tenant's plan. Throws NOT_FOUND, for another tenant's too. */
export async function findPlan(em: EntityManager, tenant: string, id: string): Promise<PlanRow> {
  const row = await em.findOne(PlanEntity, { id, tenant });
  if (!row) throw planNotFound(id);
  return row;
}

/** The same, held until the transaction ends. */
export async function lockPlan(em: EntityManager, tenant: string, id: string): Promise<PlanRow> {
  const row = await em.findOne(PlanEntity, { id, tenant }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (!row) throw planNotFound(id);
  return row;
}

/** Ends a plan, in the caller's transaction. */
export function endPlan(row: PlanRow, state: Exclude<PlanStateName, 'running'>, conclusion: string): void {
  row.plan = writePlan({ ...readPlan(row), conclusion });
  row.state = state;
  row.next = '';
  row.paraphrase = false;
  row.endedMs = Date.now();
}

/**
 * Changes a plan unless someone else has changed or ended it since it was looked at: of two control services that take
 * the same step one wins, and the other's step is as if it had not been.
 *
 * @returns whether the change was made
 */
export async function changePlan(
  database: Database,
  seen: Pick<PlanRow, 'id' | 'tenant' | 'revision'>,
  act: (em: EntityManager, row: PlanRow) => Promise<void> | void,
): Promise<boolean> {
  return database.transaction(async (em) => {
    const row = await lockPlan(em, seen.tenant, seen.id);
    if (row.state !== 'running' || row.revision !== seen.revision) return false;
    await act(em, row);
    row.revision++;
    await em.flush();
    return true;
  });
}

/** A plan's rounds in order, with the jobs behind them. */
export async function readRounds(
  em: EntityManager,
  { id, tenant }: Pick<PlanRow, 'id' | 'tenant'>,
): Promise<{ round: PlanRound; job: JobRow | undefined }[]> {
  const rows = await em.find(PlanRoundEntity, { planId: id }, { orderBy: { number: 'asc' } });
  const rounds = [];
  for (const { jobId, round } of rows) {
    const job = jobId === '' ? undefined : await findJob(em, tenant, jobId);
    rounds.push({ round: readRound(round), job });
  }
  return rounds;
}

/** A plan as its contract shows it; the running round with what its job has come to. */
export async function planReply(
  em: EntityManager,
  row: PlanRow,
  parts: { rounds: boolean },
): Promise<TuningPlan> {
  const plan = readPlan(row);
  const rounds: PlanRound[] = [];
  if (parts.rounds) {
    for (const { round, job } of await readRounds(em, row)) {
      if (!round.done && job) noteResult(round, job, await readCurves(em, job), plan.metric);
      rounds.push(round);
    }
  }
  return create(TuningPlanSchema, {
    ...plan,
    rounds,
    id: row.id,
    state: STATES[row.state],
    stage: STAGES[row.stage],
    revision: BigInt(row.revision),
    createTime: timestampFromMs(row.createdMs),
    ...(row.endedMs ? { endTime: timestampFromMs(row.endedMs) } : {}),
  });
}
