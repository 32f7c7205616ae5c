import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** What the log keeps of a target (see domain/targets.ts) and below. */
export const LogPolicySchema = defineEntity({
  name: 'LogPolicy',
  tableName: 'log_policy',
  properties: {
    tenant: p.text().primary(),
    target: p.text().primary(),
    /** Number of the LogContent. */
    content: p.integer(),
    /** Null for ever. */
    keepForMs: p.bigint('number').nullable(),
    author: p.text(),
    changedMs: p.bigint('number'),
  },
});
export type LogPolicyRow = InferEntity<typeof LogPolicySchema>;

/** How invocations of a prompt are scored by themselves; `content` is the ScoringPolicy as ProtoJSON. */
export const ScoringPolicySchema = defineEntity({
  name: 'ScoringPolicy',
  tableName: 'scoring_policy',
  properties: {
    tenant: p.text().primary(),
    prompt: p.text().primary(),
    name: p.text().primary(),
    content: p.text(),
  },
});
export type ScoringPolicyRow = InferEntity<typeof ScoringPolicySchema>;

/** A judgement that is still to be had. */
export const JudgeTaskSchema = defineEntity({
  name: 'JudgeTask',
  tableName: 'judge_task',
  properties: {
    invocationId: p.text().primary(),
    policy: p.text().primary(),
    tenant: p.text(),
    prompt: p.text(),
    /** Tries that failed. */
    tries: p.integer(),
    /** Not before this time, in milliseconds since 1970; a process that works on it moves it ahead. */
    dueMs: p.bigint('number'),
  },
});
export type JudgeTaskRow = InferEntity<typeof JudgeTaskSchema>;

export const logEntities = [LogPolicySchema, ScoringPolicySchema, JudgeTaskSchema];
