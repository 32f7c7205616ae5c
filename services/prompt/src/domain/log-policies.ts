import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { AccessTargetSchema } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import { type LogPolicy, LogPolicySchema } from '@landfall/proto/landfall/prompt/v1/log_policy_pb.js';
import type { PromptRow } from '../db/entities.ts';
import { type LogPolicyRow, LogPolicySchema as LogPolicyRows } from '../db/log-entities.ts';
import { foldersUp, promptTarget, type Target } from './targets.ts';

/** Policies of targets, of which each covers the one before it: the nearest first, and alone to count. */
export async function logPoliciesOn(
  em: EntityManager,
  tenant: string,
  targets: readonly Target[],
): Promise<LogPolicyRow[]> {
  const rows = await em.find(LogPolicyRows, { tenant, target: { $in: [...targets] } });
  return rows.sort((a, b) => targets.indexOf(a.target as Target) - targets.indexOf(b.target as Target));
}

/** The policy that counts for a prompt; undefined where all is kept for ever. */
export async function logPolicyOf(
  em: EntityManager,
  { tenant, name, folder }: PromptRow,
): Promise<LogPolicyRow | undefined> {
  return (await logPoliciesOn(em, tenant, [promptTarget(name), ...foldersUp(folder)]))[0];
}

export function logPolicyReply({ target, content, keepForMs, author, changedMs }: LogPolicyRow): LogPolicy {
  const [kind, ...path] = target.split('/');
  const value = path.join('/');
  return create(LogPolicySchema, {
    target: create(AccessTargetSchema, { target: { case: kind === 'prompts' ? 'prompt' : 'folder', value } }),
    ...{ content, author },
    changeTime: timestampFromMs(changedMs),
    ...(keepForMs == null ? {} : { keepFor: durationFromMs(keepForMs) }),
  });
}
