import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Member } from '@landfall/proto/landfall/gateway/v1/identity_pb.js';
import {
  GetMemberResponseSchema,
  ListMembersResponseSchema,
  SetMemberResponseSchema,
  WhoAmIResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { allPages, type Command, listOf, type Session, textOf, UsageError } from '../command.ts';
import { member as memberName, table } from '../render.ts';
import { time } from './prompt-targets.ts';

const SUBJECT = 'user:NAME, as the identity provider names them, or account:NAME, a machine';
const CHANGES = {
  add: { type: 'string', multiple: true },
  remove: { type: 'string', multiple: true },
} as const;

/** People, machines, and what they are in their tenant. */
export const userCommands: Record<string, Command> = {
  'users list': {
    usage: 'users list',
    summary: 'Users and service accounts of the tenant.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'users list',
    async run(session) {
      const { identity } = session.clients;
      const members = await allPages(async (page) => {
        const reply = await identity.listMembers(page);
        return { items: reply.members, nextPageToken: reply.nextPageToken };
      });
      session.print(ListMembersResponseSchema, create(ListMembersResponseSchema, { members }), () =>
        table(['USERS', 'NAME', 'ROLES', 'GROUPS', 'STATE', 'SINCE'], members.map(row)),
      );
    },
  },
  'users show': {
    usage: 'users show SUBJECT',
    summary: 'A user or service account.',
    arguments: ['SUBJECT'],
    options: {},
    meaning: {},
    example: 'users show user:li',
    async run(session) {
      const reply = await session.clients.identity.getMember({ subject: subjectOf(session) });
      session.print(GetMemberResponseSchema, reply, () => details(reply.member!));
    },
  },
  'users add': {
    usage: 'users add SUBJECT',
    summary:
      'Keeps a user or service account, with roles and groups; one that is kept already is left as it is.',
    arguments: ['SUBJECT'],
    options: {
      name: { type: 'string' },
      role: { type: 'string', multiple: true },
      group: { type: 'string', multiple: true },
      certificate: { type: 'string', multiple: true },
    },
    meaning: {
      name: 'for people to read',
      role: '`roles list` tells which there are; may be repeated',
      group: 'a group that they belong to; may be repeated',
      certificate: 'what their client certificate names them by, such as DNS:ci.acme.example',
    },
    example: 'users add user:li --name 李医生 --role invoker --group doctors',
    async run(session) {
      const { values, clients } = session;
      const subject = subjectOf(session);
      if (await kept(session, subject))
        throw new UsageError(
          `${subject} is kept already; users roles, users groups and users enable change it`,
        );
      const reply = await clients.identity.setMember({
        member: {
          ...{ subject, displayName: textOf(values, 'name'), roles: listOf(values, 'role') },
          ...{ groups: listOf(values, 'group'), certificates: certificatesOf(values.certificate) },
        },
      });
      session.print(SetMemberResponseSchema, reply, () => details(reply.member!));
    },
  },
  'users roles': {
    usage: 'users roles SUBJECT',
    summary: 'Gives and takes roles; shows what they are then.',
    arguments: ['SUBJECT'],
    options: CHANGES,
    meaning: { add: 'a role to give; may be repeated', remove: 'a role to take; may be repeated' },
    example: 'users roles user:li --add ml-engineer --remove viewer',
    run: (session) => changed(session, (member) => ({ roles: after(session, 'roles', member.roles) })),
  },
  'users groups': {
    usage: 'users groups SUBJECT',
    summary: 'Puts somebody into groups and takes them out; shows what they are then.',
    arguments: ['SUBJECT'],
    options: CHANGES,
    meaning: { add: 'a group to join; may be repeated', remove: 'a group to leave; may be repeated' },
    example: 'users groups user:li --add doctors',
    run: (session) => changed(session, (member) => ({ groups: after(session, 'groups', member.groups) })),
  },
  'users disable': {
    usage: 'users disable SUBJECT',
    summary: 'Refuses somebody by whatever credential they come, and their keys.',
    arguments: ['SUBJECT'],
    options: {},
    meaning: {},
    example: 'users disable user:li',
    run: (session) => changed(session, () => ({ disabled: true })),
  },
  'users enable': {
    usage: 'users enable SUBJECT',
    summary: 'Lets somebody in again.',
    arguments: ['SUBJECT'],
    options: {},
    meaning: {},
    example: 'users enable user:li',
    run: (session) => changed(session, () => ({ disabled: false })),
  },
  'users remove': {
    usage: 'users remove SUBJECT',
    summary: 'Keeps somebody no longer; their keys end to work.',
    arguments: ['SUBJECT'],
    options: {},
    meaning: {},
    example: 'users remove user:li',
    async run(session) {
      const subject = subjectOf(session);
      await session.clients.identity.deleteMember({ subject });
      session.line(session.json ? JSON.stringify({ removed: subject }) : `${subject} is kept no longer`);
    },
  },
  whoami: {
    usage: 'whoami',
    summary: 'Who the key that is used belongs to, and what it may do by area of the mesh.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'whoami',
    async run(session) {
      const reply = await session.clients.identity.whoAmI({});
      session.print(WhoAmIResponseSchema, reply, () => {
        const { subject, tenant, roles, groups, levels } = reply;
        const lines = [`${subject} of ${tenant}: ${roles.join(', ') || 'no role'}`];
        if (groups.length > 0) lines.push(`groups: ${groups.join(', ')}`);
        const rows = Object.entries(levels).map(([area, level]) => [area, memberName(Role, level)]);
        return [...lines, '', table(['AREA', 'LEVEL'], rows)].join('\n');
      });
    },
  },
};

const row = ({ subject, displayName, roles, groups, disabled, createTime }: Member) => [
  ...[subject, displayName, roles.join(', '), groups.join(', ')],
  ...[disabled ? 'disabled' : 'enabled', time(createTime)],
];

function details(member: Member): string {
  const { subject, displayName, roles, groups, certificates, disabled } = member;
  return [
    `${subject}${displayName ? ` (${displayName})` : ''}: ${disabled ? 'disabled' : 'enabled'}`,
    `roles: ${roles.join(', ') || 'none'}`,
    `groups: ${groups.join(', ') || 'none'}`,
    ...certificates.map((each) => `certificate: ${each}`),
  ].join('\n');
}

/** @throws UsageError for what names neither a user nor a service account */
function subjectOf({ args }: Session): string {
  const [subject] = args as [string];
  if (!/^(user|account):./.test(subject)) throw new UsageError(`SUBJECT is ${SUBJECT}, and not '${subject}'`);
  return subject;
}

/** Names in certificates hold commas (`CN=ci,O=acme`): they are taken as they are. */
const certificatesOf = (given: unknown): string[] => (given as string[] | undefined) ?? [];

async function kept({ clients }: Session, subject: string): Promise<boolean> {
  try {
    await clients.identity.getMember({ subject });
    return true;
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.NotFound) return false;
    throw error;
  }
}

/** Members are set whole: what is there is read, and all but the change is given back as it was. */
async function changed(session: Session, change: (member: Member) => Partial<Member>): Promise<void> {
  const { identity } = session.clients;
  const { member } = await identity.getMember({ subject: subjectOf(session) });
  const reply = await identity.setMember({ member: { ...member!, ...change(member!) } });
  session.print(SetMemberResponseSchema, reply, () => details(reply.member!));
}

function after({ values }: Session, what: string, names: readonly string[]): string[] {
  const [add, remove] = [listOf(values, 'add'), listOf(values, 'remove')];
  if (add.length + remove.length === 0) throw new UsageError(`give ${what} by --add, --remove or both`);
  const missing = remove.find((name) => !names.includes(name));
  if (missing) throw new UsageError(`'${missing}' is not among their ${what}: ${names.join(', ') || 'none'}`);
  return [...new Set([...names.filter((name) => !remove.includes(name)), ...add])];
}
