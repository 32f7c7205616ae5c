import { publicMethods } from '@landfall/gateway/edge/services.ts';
import {
  GrantRightResponseSchema,
  ListRightsResponseSchema,
  RestrictResourceResponseSchema,
  RevokeRightResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import { WhyAllowedResponseSchema } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { type Command, enumOf, listOf, type Session, textOf, UsageError } from '../command.ts';
import { nearest } from '../help.ts';
import { member, table } from '../render.ts';
import { time } from './prompt-targets.ts';

const RESOURCE = 'models/NAME, deployments/NAME or collections/NAME';

/** Rights on single models, deployments and collections, and why somebody may do something. */
export const rightCommands: Record<string, Command> = {
  'rights list': {
    usage: 'rights list',
    summary: 'Rights that were given on single resources, and those on which they alone count.',
    arguments: [],
    options: { resource: { type: 'string' } },
    meaning: { resource: `only of this: ${RESOURCE}` },
    example: 'rights list --resource models/medical-qa',
    async run(session) {
      const resource = textOf(session.values, 'resource');
      const reply = await session.clients.access.listRights({ resource });
      session.print(ListRightsResponseSchema, reply, () => {
        const restricted = new Set(reply.restricted);
        const rows = reply.grants.map((each) => [
          ...[each.resource, each.grantee, member(Role, each.right)],
          ...[restricted.has(each.resource) ? 'alone' : 'beside roles', each.author, time(each.createTime)],
        ]);
        const granted = new Set(reply.grants.map((each) => each.resource));
        const closed = reply.restricted.filter((each) => !granted.has(each));
        for (const each of closed) rows.push([each, 'administrators only', '', 'alone', '', '']);
        return table(['RIGHTS ON', 'OF', 'RIGHT', 'COUNT', 'BY', 'TIME'], rows);
      });
    },
  },
  'rights grant': {
    usage: 'rights grant RESOURCE GRANTEE RIGHT',
    summary: 'Gives a right on one resource, in the place of an earlier one.',
    arguments: ['RESOURCE', 'GRANTEE', 'RIGHT'],
    options: {},
    meaning: {},
    example: 'rights grant models/medical-qa group:doctors invoker',
    async run(session) {
      const [, grantee, right] = session.args as [string, string, string];
      const given = { resource: resourceOf(session), grantee, right: enumOf(Role, right, 'RIGHT') as Role };
      const reply = await session.clients.access.grantRight(given);
      session.print(GrantRightResponseSchema, reply, () => `${grantee} has ${right} on ${given.resource}`);
    },
  },
  'rights revoke': {
    usage: 'rights revoke RESOURCE GRANTEE',
    summary: 'Takes a right on one resource back.',
    arguments: ['RESOURCE', 'GRANTEE'],
    options: {},
    meaning: {},
    example: 'rights revoke models/medical-qa group:doctors',
    async run(session) {
      const taken = { resource: resourceOf(session), grantee: session.args[1]! };
      const reply = await session.clients.access.revokeRight(taken);
      session.print(
        RevokeRightResponseSchema,
        reply,
        () => `${taken.grantee} has no right of its own on ${taken.resource}`,
      );
    },
  },
  'rights restrict': {
    usage: 'rights restrict RESOURCE',
    summary: 'Lets grants alone count on a resource: for others, administrators left out, it is not there.',
    arguments: ['RESOURCE'],
    options: { open: { type: 'boolean' } },
    meaning: { open: 'roles count again' },
    example: 'rights restrict deployments/chat',
    async run(session) {
      const wish = { resource: resourceOf(session), restricted: session.values.open !== true };
      const reply = await session.clients.access.restrictResource(wish);
      const now = wish.restricted ? 'grants alone count' : 'roles count';
      session.print(RestrictResourceResponseSchema, reply, () => `${now} on ${wish.resource}`);
    },
  },
  'rights why': {
    usage: 'rights why METHOD',
    summary: 'Whether somebody may call a method, on a resource where one is given, and why.',
    arguments: ['METHOD'],
    options: {
      resource: { type: 'string' },
      subject: { type: 'string' },
      role: { type: 'string', multiple: true },
    },
    meaning: {
      resource: RESOURCE,
      subject: 'user:NAME, account:NAME or key:UUID (the key that is used)',
      role: 'somebody of this role instead; may be repeated',
    },
    example: 'rights why RegistryService/SetAlias --subject user:li --resource models/medical-qa',
    async run(session) {
      const { values } = session;
      const reply = await session.clients.admin.whyAllowed({
        ...{ method: methodOf(session.args[0]!), roles: listOf(values, 'role') },
        ...{ resource: textOf(values, 'resource'), subject: textOf(values, 'subject') },
      });
      session.print(WhyAllowedResponseSchema, reply, () =>
        [reply.allowed ? 'allowed' : 'not allowed', ...reply.reason.split('; ')].join('\n  '),
      );
    },
  },
};

/** @throws UsageError for what rights are kept elsewhere on */
function resourceOf({ args }: Session): string {
  const [resource] = args as [string];
  if (/^(prompts|folders)\//.test(resource))
    throw new UsageError('rights on prompts and their folders: prompts grant, revoke, restrict and grants');
  if (!/^(models|deployments|collections)\/./.test(resource))
    throw new UsageError(`RESOURCE is ${RESOURCE}, and not '${resource}'`);
  return resource;
}

/** A method by its whole name, or by as much of its end as only one has: `SetAlias`. @throws UsageError */
function methodOf(text: string): string {
  const names = [...publicMethods.keys()];
  if (publicMethods.has(text)) return text;
  const ending = names.filter((name) => name.endsWith(`.${text}`) || name.endsWith(`/${text}`));
  const [only, ...others] = ending;
  if (only && others.length === 0) return only;
  if (only) throw new UsageError(`METHOD '${text}' is one of ${ending.join(', ')}: write Service/Method`);
  const tail = (name: string) => name.slice(name.lastIndexOf(text.includes('/') ? '.' : '/') + 1);
  const like = nearest(text, names.map(tail));
  throw new UsageError(`there is no method '${text}'${like ? `; did you mean ${like}?` : ''}`);
}
