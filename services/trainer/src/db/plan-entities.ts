import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** Where a plan is, as stored. */
export type PlanStateName = 'running' | 'succeeded' | 'fell_short' | 'failed' | 'cancelled';
/** What a running plan does now; each can be begun again after a restart. */
export type PlanStageName = 'prepare' | 'choose' | 'train' | 'decide' | 'deploy';

/** A tuning plan of one tenant. */
export const PlanEntity = defineEntity({
  name: 'Plan',
  tableName: 'plan',
  properties: {
    /** UUIDv7, so that its order is the order of creation. */
    id: p.text().primary(),
    tenant: p.text(),
    state: p.text().$type<PlanStateName>(),
    stage: p.text().$type<PlanStageName>(),
    /** TuningPlan without what has a column or a table of its own. */
    plan: p.text(),
    /** PlanRound that was decided on and has no job yet; empty for none. */
    next: p.text(),
    /** The next round's data is widened by paraphrases first. */
    paraphrase: p.boolean(),
    createdMs: p.bigint('number'),
    endedMs: p.bigint('number').nullable(),
    revision: p.bigint('number'),
  },
});
export type PlanRow = InferEntity<typeof PlanEntity>;

/** One way round of a plan. */
export const PlanRoundEntity = defineEntity({
  name: 'PlanRound',
  tableName: 'plan_round',
  properties: {
    planId: p.text().primary(),
    /** From 1. */
    number: p.integer().primary(),
    /** Empty for a round that was refused before it had a job. */
    jobId: p.text(),
    /** PlanRound. */
    round: p.text(),
  },
});
export type PlanRoundRow = InferEntity<typeof PlanRoundEntity>;

export const planEntities = [PlanEntity, PlanRoundEntity];
