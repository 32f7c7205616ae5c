import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { LabelMovedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { LabelMoveKind } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import { type LabelHistoryRow, LabelHistorySchema } from '../db/access-entities.ts';
import { LabelSchema, type PromptRow, type VersionRow, VersionSchema } from '../db/entities.ts';
import { versionNotFound } from '../errors.ts';
import { record } from './audit.ts';
import { supersede } from './move-requests.ts';
import { type Demand, demandOf } from './protections.ts';
import { promptTarget } from './targets.ts';
import { lockPrompt } from './versions.ts';

/** A label that is to point at a version. */
export interface LabelMove {
  label: string;
  version: string;
  author: string;
  reason?: string;
}

/** What of a move only those say that may make it without SetLabel's rules. */
interface Grounds {
  kind: LabelMoveKind;
  undoes?: number;
  moveId?: string;
}

const KIND = new Map([
  [LabelMoveKind.SET, 'set'],
  [LabelMoveKind.APPROVED, 'approved'],
  [LabelMoveKind.UNDONE, 'undone'],
]);

/**
 * Points a label at a version where it is not protected; nothing where it points there already.
 * @throws LandfallError FAILED_PRECONDITION for a protected label, NOT_FOUND for the version
 */
export async function setLabel(em: EntityManager, prompt: PromptRow, move: LabelMove): Promise<void> {
  await lockPrompt(em, prompt);
  const now = await labelOf(em, prompt, move.label);
  await versionOf(em, prompt, move.version);
  if (now?.version === move.version) return;
  const demand = await demandOf(em, prompt, move.label);
  if (demand) throw protectedLabel(prompt, move.label, demand);
  await moveLabel(em, prompt, move, { kind: LabelMoveKind.SET });
}

/**
 * Moves a label, whoever may: the one place that does. One transaction with its history, record and event; requests
 * for the label that wait end, since it is no longer where they found it. The prompt must be locked.
 */
export async function moveLabel(
  em: EntityManager,
  prompt: PromptRow,
  { label, version, author, reason = '' }: LabelMove,
  { kind, undoes = 0, moveId = '' }: Grounds,
): Promise<LabelHistoryRow> {
  const { tenant, name } = prompt;
  const now = await labelOf(em, prompt, label);
  const fromVersion = now?.version ?? '';
  const before = fromVersion ? await versionOf(em, prompt, fromVersion) : undefined;
  const { digest } = await versionOf(em, prompt, version);
  const revision = (now?.revision ?? 0) + 1;
  if (now) Object.assign(now, { version, revision });
  else em.create(LabelSchema, { tenant, name, label, version, revision });
  await em.flush();
  const entry = {
    ...{ tenant, name, label, revision, fromVersion, toVersion: version },
    ...{ kind, author, reason, undoes, moveId, createdMs: Date.now() },
  } as LabelHistoryRow;
  await em.insert(LabelHistorySchema, entry);
  await supersede(em, prompt, label, moveId);
  await record(em, {
    ...{ tenant, subject: author, action: 'label.moved', target: promptTarget(name), item: label },
    ...{
      before: fromVersion,
      after: version,
      beforeDigest: before?.digest ?? '',
      afterDigest: digest,
      reason,
    },
  });
  await announce(em, 'prompt', {
    subject: 'landfall.prompt.label.moved.v1',
    schema: LabelMovedSchema,
    payload: create(LabelMovedSchema, {
      ...{ tenant, name, label, fromVersion, toVersion: version, author, digest },
      revision: BigInt(revision),
      kind: KIND.get(kind)!,
    }),
  });
  return entry;
}

/** Where a label points, as it is now. */
export const labelOf = (em: EntityManager, { tenant, name }: PromptRow, label: string) =>
  em.findOne(LabelSchema, { tenant, name, label }, { refresh: true });

/** @throws LandfallError NOT_FOUND */
export async function versionOf(
  em: EntityManager,
  { tenant, name }: PromptRow,
  version: string,
): Promise<VersionRow> {
  const row = await em.findOne(VersionSchema, { tenant, name, version });
  if (!row) throw versionNotFound(name, version);
  return row;
}

/** A protected label that somebody moves without asking. */
export function protectedLabel({ name }: PromptRow, label: string, { target, approvals }: Demand) {
  const others = approvals === 1 ? 'another person' : `${approvals} other people`;
  return failedPrecondition(
    `'${label}' of prompts/${name} is protected by ${target}: ask for the move with RequestLabelMove and let ${others} approve it with DecideLabelMove`,
    { reason: 'LABEL_PROTECTED', metadata: { target, label, approvals: `${approvals}` } },
  );
}
