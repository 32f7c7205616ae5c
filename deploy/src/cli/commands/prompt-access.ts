import { PromptRight } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import {
  ExplainRightResponseSchema,
  GrantRightResponseSchema,
  ListGrantsResponseSchema,
  RestrictAccessResponseSchema,
  RevokeRightResponseSchema,
  SearchPromptAuditResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import { type Command, enumOf, textOf } from '../command.ts';
import { member, table } from '../render.ts';
import { targetOf, time } from './prompt-targets.ts';

type Target = { target: { case: string | undefined; value?: string | undefined } };
const targetText = (given: Target | undefined) =>
  given?.target.case === 'folder' ? `${given.target.value}/` : (given?.target.value ?? '');

const TARGET = 'NAME of a prompt, or PATH/ of a folder';

export const promptAccessCommands: Record<string, Command> = {
  'prompts grant': {
    usage: 'prompts grant TARGET GRANTEE RIGHT',
    summary: 'Gives a right on a prompt or a folder (PATH/).',
    arguments: ['TARGET', 'GRANTEE', 'RIGHT'],
    options: {},
    meaning: {},
    example: 'prompts grant medical/ group:doctors invoker',
    async run(session) {
      const [target, grantee, text] = session.args;
      const right = enumOf(PromptRight, text!, 'RIGHT');
      const given = { target: targetOf(target!), grantee: grantee!, right };
      const reply = await session.clients.promptAccess.grantRight(given);
      const note = reply.restricted ? '' : `; roles count there too, until prompts restrict ${target}`;
      session.print(GrantRightResponseSchema, reply, () => `${grantee} has ${text} on ${target}${note}`);
    },
  },
  'prompts revoke': {
    usage: 'prompts revoke TARGET GRANTEE',
    summary: 'Takes a right on a prompt or a folder back.',
    arguments: ['TARGET', 'GRANTEE'],
    options: {},
    meaning: {},
    example: 'prompts revoke medical/ group:doctors',
    async run(session) {
      const [target, grantee] = session.args;
      const taken = { target: targetOf(target!), grantee: grantee! };
      const reply = await session.clients.promptAccess.revokeRight(taken);
      session.print(
        RevokeRightResponseSchema,
        reply,
        () => `${grantee} ${reply.revoked ? 'has' : 'had'} nothing on ${target}`,
      );
    },
  },
  'prompts restrict': {
    usage: 'prompts restrict TARGET',
    summary: 'Lets grants alone count on a prompt or a folder.',
    arguments: ['TARGET'],
    options: { open: { type: 'boolean' } },
    meaning: { open: 'roles count again' },
    example: 'prompts restrict medical/',
    async run(session) {
      const [target] = session.args;
      const wish = { target: targetOf(target!), restricted: session.values.open !== true };
      const reply = await session.clients.promptAccess.restrictAccess(wish);
      const now = reply.restricted ? 'grants alone count' : 'roles count';
      session.print(RestrictAccessResponseSchema, reply, () => `${now} on ${target}`);
    },
  },
  'prompts grants': {
    usage: 'prompts grants TARGET',
    summary: 'Who was given which right on a prompt or a folder.',
    arguments: ['TARGET'],
    options: {},
    meaning: {},
    example: 'prompts grants medical/',
    async run(session) {
      const ask = { target: targetOf(session.args[0]!), pageSize: 500 };
      const reply = await session.clients.promptAccess.listGrants(ask);
      session.print(ListGrantsResponseSchema, reply, () =>
        table(
          ['GRANTS', 'RIGHT', 'ON', 'BY', 'TIME'],
          reply.grants.map(({ grantee, right, target, author, createTime }) => [
            ...[grantee, member(PromptRight, right), targetText(target), author, time(createTime)],
          ]),
        ),
      );
    },
  },
  'prompts explain': {
    usage: 'prompts explain TARGET RIGHT',
    summary: 'Whether you have a right on a prompt or a folder, and by what.',
    arguments: ['TARGET', 'RIGHT'],
    options: {},
    meaning: {},
    example: 'prompts explain triage editor',
    async run(session) {
      const right = enumOf(PromptRight, session.args[1]!, 'RIGHT');
      const ask = { target: targetOf(session.args[0]!), right };
      const reply = await session.clients.promptAccess.explainRight(ask);
      session.print(ExplainRightResponseSchema, reply, () => reply.reasons.join('\n'));
    },
  },
  'prompts audit': {
    usage: 'prompts audit',
    summary: 'Changes of rights, labels and versions, and refusals of them.',
    arguments: [],
    options: { target: { type: 'string' }, subject: { type: 'string' } },
    meaning: { target: TARGET, subject: 'only by this caller, such as key:UUID' },
    example: 'prompts audit --target triage',
    async run(session) {
      const text = textOf(session.values, 'target');
      const target = !text ? '' : text.endsWith('/') ? `folders/${text.slice(0, -1)}` : `prompts/${text}`;
      const ask = { target, subject: textOf(session.values, 'subject'), pageSize: 100 };
      const reply = await session.clients.promptAccess.searchPromptAudit(ask);
      session.print(SearchPromptAuditResponseSchema, reply, () =>
        table(
          ['RECORDS', 'BY', 'WHAT', 'ON', 'ITEM', 'OUTCOME', 'BEFORE', 'AFTER'],
          reply.records.map((one) => [
            time(one.time),
            ...[one.subject, one.action, one.target, one.item, one.outcome, one.before, one.after],
          ]),
        ),
      );
    },
  },
};
