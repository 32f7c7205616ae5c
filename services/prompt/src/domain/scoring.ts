import { createHash } from 'node:crypto';
import { fromJsonString } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { type ScoringPolicy, ScoringPolicySchema } from '@landfall/proto/landfall/prompt/v1/log_policy_pb.js';
import { type Invocation, LogContent } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import {
  JudgeTaskSchema,
  type ScoringPolicyRow,
  ScoringPolicySchema as ScoringPolicyRows,
} from '../db/log-entities.ts';
import type { LogRecord } from './invocation-log.ts';
import { codeScore } from './score-functions.ts';
import { attachScore } from './scores.ts';

export const readScoringPolicy = ({ content }: ScoringPolicyRow): ScoringPolicy =>
  fromJsonString(ScoringPolicySchema, content);

/** The author of a policy's scores. */
export const policyAuthor = (name: string): string => `policy:${name}`;

/**
 * Scores invocations that have ended by the policies of their prompts, in the transaction that logs them: by code here,
 * by judges later, as tasks. Code sees the whole answer, a judge what the log keeps of it.
 * @returns whether there are tasks now
 */
export async function scoreInvocations(em: EntityManager, records: readonly LogRecord[]): Promise<boolean> {
  const ended = records.filter(({ entry }) => entry.error === '');
  if (ended.length === 0) return false;
  const whose = ended.map(({ tenant, entry }) => ({ tenant, prompt: entry.name }));
  const rows = await em.find(ScoringPolicyRows, { $or: distinct(whose) });
  let tasks = false;
  for (const row of rows) {
    const policy = readScoringPolicy(row);
    const mine = ended.filter(({ tenant, entry }) => tenant === row.tenant && entry.name === row.prompt);
    for (const { tenant, entry, content } of mine.filter((one) => isChosen(policy, one.entry))) {
      await scoreByCode(em, policy, tenant, entry);
      if (!policy.judge || content === LogContent.NONE) continue;
      const task = { invocationId: entry.id, policy: policy.name, tenant, prompt: entry.name };
      await em.insert(JudgeTaskSchema, { ...task, tries: 0, dueMs: Date.now() });
      tasks = true;
    }
  }
  return tasks;
}

async function scoreByCode(em: EntityManager, policy: ScoringPolicy, tenant: string, entry: Invocation) {
  for (const one of policy.functions) {
    const score = codeScore(one, entry.output, []);
    await attachScore(em, tenant, entry, score, policyAuthor(policy.name));
  }
}

/** By the invocation's id: a share of them that nobody can steer, and the same one on a repeat. */
function isChosen({ name, sampleRate }: ScoringPolicy, { id }: Invocation): boolean {
  if (sampleRate === 0) return true;
  const digest = createHash('sha256').update(`${name} ${id}`).digest();
  return digest.readUIntBE(0, 6) / 2 ** 48 < sampleRate;
}

const distinct = (pairs: { tenant: string; prompt: string }[]) => [
  ...new Map(pairs.map((pair) => [`${pair.tenant} ${pair.prompt}`, pair])).values(),
];
