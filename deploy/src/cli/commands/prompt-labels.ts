import { Code, ConnectError } from '@connectrpc/connect';
import { LabelMoveKind, LabelMoveState } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import {
  DecideLabelMoveResponseSchema,
  ListLabelHistoryResponseSchema,
  ListLabelMovesResponseSchema,
  ProtectLabelResponseSchema,
  RequestLabelMoveResponseSchema,
  UndoLabelMoveResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import { SetLabelResponseSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { type Command, listOf, numberOf, type Session, textOf, UsageError } from '../command.ts';
import { member, table } from '../render.ts';
import { targetOf, time } from './prompt-targets.ts';

/** `name@label` */
function labelOf(text: string): { name: string; label: string } {
  const [, name, label] = /^([^/@]+)@([^/@]+)$/.exec(text) ?? [];
  if (!name || !label) throw new UsageError(`'${text}' is not NAME@LABEL`);
  return { name, label };
}

const reason = { reason: { type: 'string' } } as const;
const reasonMeaning = { reason: 'why, for the record' };
/** Moves a label, or asks for its move where it is protected. */
async function moveLabel(session: Session): Promise<void> {
  const { name, label } = labelOf(session.args[0]!);
  const version = session.args[1]!;
  try {
    const reply = await session.clients.prompt.setLabel({ name, label, version });
    session.print(SetLabelResponseSchema, reply, () => `${name}@${label} is ${version}`);
  } catch (cause) {
    const isProtected = cause instanceof ConnectError && cause.code === Code.FailedPrecondition;
    if (!isProtected || session.values.request !== true) throw cause;
    const ask = { name, label, version, reason: textOf(session.values, 'reason') };
    const reply = await session.clients.promptAccess.requestLabelMove(ask);
    const { id, approvalsNeeded } = reply.move!;
    session.print(
      RequestLabelMoveResponseSchema,
      reply,
      () => `${id} waits for ${approvalsNeeded} of: prompts approve ${id}`,
    );
  }
}

async function decide(session: Session, approve: boolean): Promise<void> {
  const [id] = session.args;
  const said = { id: id!, approve, reason: textOf(session.values, 'reason') };
  const reply = await session.clients.promptAccess.decideLabelMove(said);
  const { name, label, toVersion, state, decisions, approvalsNeeded } = reply.move!;
  session.print(DecideLabelMoveResponseSchema, reply, () =>
    state === LabelMoveState.APPLIED
      ? `${name}@${label} is ${toVersion}`
      : `${member(LabelMoveState, state)}: ${decisions.filter((one) => one.approve).length} of ${approvalsNeeded} approvals`,
  );
}

export const promptLabelCommands: Record<string, Command> = {
  'prompts label': {
    usage: 'prompts label NAME@LABEL VERSION',
    summary: 'Points a label at a version; with --request a protected one is asked for.',
    arguments: ['NAME@LABEL', 'VERSION'],
    options: { request: { type: 'boolean' }, ...reason },
    meaning: { request: 'ask for the move where the label is protected', ...reasonMeaning },
    example: 'prompts label triage@production 1.2.0 --request --reason "better on the test set"',
    run: moveLabel,
  },
  'prompts undo': {
    usage: 'prompts undo NAME@LABEL',
    summary: 'Takes the last move of a label back.',
    arguments: ['NAME@LABEL'],
    options: reason,
    meaning: reasonMeaning,
    example: 'prompts undo triage@production',
    async run(session) {
      const { name, label } = labelOf(session.args[0]!);
      const ask = { name, label, reason: textOf(session.values, 'reason') };
      const reply = await session.clients.promptAccess.undoLabelMove(ask);
      session.print(
        UndoLabelMoveResponseSchema,
        reply,
        () => `${name}@${label} is ${reply.entry!.toVersion} again`,
      );
    },
  },
  'prompts history': {
    usage: 'prompts history NAME@LABEL',
    summary: 'The moves of a label, newest first.',
    arguments: ['NAME@LABEL'],
    options: {},
    meaning: {},
    example: 'prompts history triage@production',
    async run(session) {
      const reply = await session.clients.promptAccess.listLabelHistory(labelOf(session.args[0]!));
      session.print(ListLabelHistoryResponseSchema, reply, () =>
        table(
          ['MOVE', 'FROM', 'TO', 'KIND', 'BY', 'TIME', 'REASON'],
          reply.entries.map((entry) => [
            `${entry.revision}`,
            ...[entry.fromVersion, entry.toVersion, member(LabelMoveKind, entry.kind), entry.author],
            ...[time(entry.createTime), entry.reason],
          ]),
        ),
      );
    },
  },
  'prompts protect': {
    usage: 'prompts protect TARGET LABEL',
    summary: 'Lets a label move only when others have approved.',
    arguments: ['TARGET', 'LABEL'],
    options: {
      approvals: { type: 'string' },
      approver: { type: 'string', multiple: true },
      'owner-may-undo': { type: 'boolean' },
    },
    meaning: {
      approvals: 'people that must approve (default 1)',
      approver: 'who may besides owners, such as group:board; may be repeated',
      'owner-may-undo': 'an owner undoes the last move alone',
    },
    example: 'prompts protect medical/ production --approver group:board',
    async run(session) {
      const [target, label] = session.args;
      const reply = await session.clients.promptAccess.protectLabel({
        target: targetOf(target!),
        label: label!,
        approvals: numberOf(session.values, 'approvals') ?? 0,
        approvers: listOf(session.values, 'approver'),
        ownerMayUndo: session.values['owner-may-undo'] === true,
      });
      const { approvals } = reply.protection!;
      session.print(
        ProtectLabelResponseSchema,
        reply,
        () => `${label} of ${target} takes ${approvals} approval${approvals === 1 ? '' : 's'}`,
      );
    },
  },
  'prompts moves': {
    usage: 'prompts moves',
    summary: 'Moves of protected labels that wait for approval.',
    arguments: [],
    options: { all: { type: 'boolean' } },
    meaning: { all: 'those that have ended too' },
    example: 'prompts moves',
    async run(session) {
      const state = session.values.all === true ? LabelMoveState.UNSPECIFIED : LabelMoveState.PENDING;
      const reply = await session.clients.promptAccess.listLabelMoves({ state, pageSize: 100 });
      session.print(ListLabelMovesResponseSchema, reply, () =>
        table(
          ['MOVES', 'LABEL', 'FROM', 'TO', 'STATE', 'BY', 'REASON'],
          reply.moves.map((move) => [
            move.id,
            `${move.name}@${move.label}`,
            ...[
              move.fromVersion,
              move.toVersion,
              member(LabelMoveState, move.state),
              move.author,
              move.reason,
            ],
          ]),
        ),
      );
    },
  },
  'prompts approve': {
    usage: 'prompts approve ID',
    summary: 'Approves the move of a protected label that somebody else has asked for.',
    arguments: ['ID'],
    options: reason,
    meaning: reasonMeaning,
    example: 'prompts approve 0198a1b2-... --reason "read and tried"',
    run: (session) => decide(session, true),
  },
  'prompts reject': {
    usage: 'prompts reject ID',
    summary: 'Rejects the move of a protected label.',
    arguments: ['ID'],
    options: reason,
    meaning: reasonMeaning,
    example: 'prompts reject 0198a1b2-... --reason "the test set is too small"',
    run: (session) => decide(session, false),
  },
};
