import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  ApproveVersionResponseSchema,
  CheckGatesResponseSchema,
  DeleteVersionResponseSchema,
  DeprecateVersionResponseSchema,
  ListHistoryResponseSchema,
  ReinstateVersionResponseSchema,
  RemoveAliasResponseSchema,
  RestoreVersionResponseSchema,
  SetStageResponseSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import { Stage, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  type Command,
  enumOf,
  type Options,
  partsOf,
  reference,
  type Session,
  textOf,
  UsageError,
} from '../command.ts';
import { member, table } from '../render.ts';

const REASON: { options: Options; meaning: Record<string, string> } = {
  options: { reason: { type: 'string' } },
  meaning: { reason: 'why, for the history' },
};

/** Name and number of a version, an alias resolved, and the reason given. */
async function target(session: Session): Promise<{ name: string; version: string; reason: string }> {
  const parts = partsOf(await reference(session, session.args[0]!));
  const reason = textOf(session.values, 'reason');
  if (!parts.version.startsWith('@')) return { ...parts, reason };
  const { version } = await session.clients.registry.getVersion(parts);
  return { name: parts.name, version: version!.version, reason };
}

/** A date, or a date with a time, as ISO 8601 has it. @throws UsageError */
function timeOf(session: Session, name: string) {
  const text = textOf(session.values, name);
  if (text === '') return undefined;
  const date = new Date(text);
  if (Number.isNaN(date.getTime()))
    throw new UsageError(`--${name} is a date such as 2027-01-31 and not '${text}'`);
  return timestampFromDate(date);
}

function deprecated({ ref, deprecation }: Version): string {
  const from = deprecation?.sunsetTime
    ? `; takes no alias from ${timestampDate(deprecation.sunsetTime).toISOString()} on`
    : '';
  return `${ref} is deprecated${from}`;
}

export const modelLifeCommands: Record<string, Command> = {
  'models stage': {
    usage: 'models stage REFERENCE STAGE',
    summary: 'Says how far a version is trusted.',
    arguments: ['REFERENCE', 'STAGE'],
    ...REASON,
    example: 'models stage medical/1.2.0 staging --reason "passed the review"',
    async run(session) {
      const stage = enumOf(Stage, session.args[1]!, 'STAGE');
      const reply = await session.clients.lifeCycle.setStage({ ...(await target(session)), stage });
      session.print(SetStageResponseSchema, reply, () => `${reply.version!.ref} is ${member(Stage, stage)}`);
    },
  },
  'models gates': {
    usage: 'models gates REFERENCE ALIAS',
    summary: 'What a version must pass before it may carry an alias, and what of it it does.',
    arguments: ['REFERENCE', 'ALIAS'],
    options: {},
    meaning: {},
    example: 'models gates medical/1.2.0 production',
    async run(session) {
      const parts = partsOf(await reference(session, session.args[0]!));
      const reply = await session.clients.lifeCycle.checkGates({ ...parts, alias: session.args[1]! });
      session.print(CheckGatesResponseSchema, reply, () =>
        table(
          ['GATE', 'PASSED', 'WHY'],
          reply.results.map(({ gate, passed, description }) => [gate, passed ? 'yes' : 'no', description]),
        ),
      );
    },
  },
  'models approve': {
    usage: 'models approve REFERENCE ALIAS',
    summary: "A second person's yes to a version for an alias.",
    arguments: ['REFERENCE', 'ALIAS'],
    options: { comment: { type: 'string' } },
    meaning: { comment: 'for the history' },
    example: 'models approve medical/1.2.0 production --comment "read 50 answers"',
    async run(session) {
      const { name, version } = await target(session);
      const comment = textOf(session.values, 'comment');
      const alias = session.args[1]!;
      const reply = await session.clients.lifeCycle.approveVersion({ name, version, alias, comment });
      session.print(ApproveVersionResponseSchema, reply, () =>
        reply.approvals.map(({ approvedBy }) => `approved by ${approvedBy}`).join('\n'),
      );
    },
  },
  'models unalias': {
    usage: 'models unalias NAME ALIAS',
    summary: 'Takes an alias away.',
    arguments: ['NAME', 'ALIAS'],
    options: {},
    meaning: {},
    example: 'models unalias medical candidate',
    async run(session) {
      const [name, alias] = session.args;
      const reply = await session.clients.lifeCycle.removeAlias({ name: name!, alias: alias! });
      session.print(RemoveAliasResponseSchema, reply, () => `${name}@${alias} is gone`);
    },
  },
  'models deprecate': {
    usage: 'models deprecate REFERENCE',
    summary: 'Says that a version should not be built on any more.',
    arguments: ['REFERENCE'],
    options: { ...REASON.options, sunset: { type: 'string' }, successor: { type: 'string' } },
    meaning: {
      ...REASON.meaning,
      sunset: 'date from which on it takes no alias',
      successor: 'reference of the version that takes its place',
    },
    example: 'models deprecate medical/1.0.0 --sunset 2027-01-31 --successor medical/1.2.0',
    async run(session) {
      const sunsetTime = timeOf(session, 'sunset');
      const successor = await reference(session, textOf(session.values, 'successor'));
      const request = { ...(await target(session)), successor, ...(sunsetTime && { sunsetTime }) };
      const reply = await session.clients.lifeCycle.deprecateVersion(request);
      session.print(DeprecateVersionResponseSchema, reply, () => deprecated(reply.version!));
    },
  },
  'models reinstate': {
    usage: 'models reinstate REFERENCE',
    summary: 'Takes a deprecation back.',
    arguments: ['REFERENCE'],
    ...REASON,
    example: 'models reinstate medical/1.0.0',
    async run(session) {
      const reply = await session.clients.lifeCycle.reinstateVersion(await target(session));
      session.print(ReinstateVersionResponseSchema, reply, () => `${reply.version!.ref} is reinstated`);
    },
  },
  'models delete': {
    usage: 'models delete REFERENCE',
    summary: 'Deletes a version that nothing uses; it can be restored for a time.',
    arguments: ['REFERENCE'],
    ...REASON,
    example: 'models delete medical/1.0.0 --reason "trained on wrong rows"',
    async run(session) {
      const reply = await session.clients.lifeCycle.deleteVersion(await target(session));
      const { ref, purgeTime } = reply.version!;
      session.print(DeleteVersionResponseSchema, reply, () =>
        purgeTime ? `${ref} is deleted; restore it until ${timestampDate(purgeTime).toISOString()}` : ref,
      );
    },
  },
  'models restore': {
    usage: 'models restore REFERENCE',
    summary: 'Takes a deletion back.',
    arguments: ['REFERENCE'],
    ...REASON,
    example: 'models restore medical/1.0.0',
    async run(session) {
      const reply = await session.clients.lifeCycle.restoreVersion(await target(session));
      session.print(RestoreVersionResponseSchema, reply, () => `${reply.version!.ref} is back`);
    },
  },
  'models history': {
    usage: 'models history NAME',
    summary: 'The life of a model: who changed what, newest first.',
    arguments: ['NAME'],
    options: { version: { type: 'string' } },
    meaning: { version: 'only this one' },
    example: 'models history medical --version 1.2.0',
    async run(session) {
      const request = { name: session.args[0]!, version: textOf(session.values, 'version'), pageSize: 100 };
      const reply = await session.clients.lifeCycle.listHistory(request);
      session.print(ListHistoryResponseSchema, reply, () =>
        table(
          ['REVISION', 'TIME', 'CHANGE', 'VERSION', 'ALIAS', 'BY', 'DETAIL'],
          reply.entries.map(({ revision, time, change, version, alias, actor, detail }) => [
            `${revision}`,
            timestampDate(time!).toISOString(),
            change,
            version,
            alias,
            actor,
            detail,
          ]),
        ),
      );
    },
  },
};
