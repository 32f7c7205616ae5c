import { create } from '@bufbuild/protobuf';
import {
  ListGroupsResponseSchema,
  ListRolesResponseSchema,
  SetGroupResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { allPages, type Command, listOf, UsageError } from '../command.ts';
import { member, table } from '../render.ts';

/** Roles, and groups that bring them. */
export const groupCommands: Record<string, Command> = {
  'roles list': {
    usage: 'roles list',
    summary: 'Roles that there are, and what each allows by area of the mesh.',
    arguments: [],
    options: { policies: { type: 'boolean' } },
    meaning: { policies: 'their policies in Cedar too' },
    example: 'roles list',
    async run(session) {
      const reply = await session.clients.identity.listRoles({});
      session.print(ListRolesResponseSchema, reply, () => {
        const rows = reply.roles.map(({ name, levels, methods }) => [
          name,
          levelsText(levels),
          methods.map((method) => method.slice(method.lastIndexOf('.') + 1)).join(', '),
        ]);
        const policies = reply.roles.map(({ policy }) => `\n\n${policy}`).join('');
        return table(['ROLES', 'LEVELS', 'METHODS BEYOND'], rows) + (session.values.policies ? policies : '');
      });
    },
  },
  'groups list': {
    usage: 'groups list',
    summary: 'Groups that bring roles; `users list` tells who belongs to them.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'groups list',
    async run(session) {
      const { identity } = session.clients;
      const groups = await allPages(async (page) => {
        const reply = await identity.listGroups(page);
        return { items: reply.groups, nextPageToken: reply.nextPageToken };
      });
      session.print(ListGroupsResponseSchema, create(ListGroupsResponseSchema, { groups }), () =>
        table(
          ['GROUPS', 'ROLES'],
          groups.map(({ name, roles }) => [name, roles.join(', ')]),
        ),
      );
    },
  },
  'groups set': {
    usage: 'groups set NAME --role ROLE',
    summary: 'Sets the roles that a group brings its members, all of them at once.',
    arguments: ['NAME'],
    options: { role: { type: 'string', multiple: true } },
    meaning: { role: '`roles list` tells which there are; may be repeated' },
    example: 'groups set doctors --role invoker --role reviewer',
    async run(session) {
      const roles = listOf(session.values, 'role');
      if (roles.length === 0) throw new UsageError('--role is missing; groups delete takes all roles away');
      const reply = await session.clients.identity.setGroup({ group: { name: session.args[0]!, roles } });
      session.print(
        SetGroupResponseSchema,
        reply,
        () => `${reply.group!.name} brings ${reply.group!.roles.join(', ')}`,
      );
    },
  },
  'groups delete': {
    usage: 'groups delete NAME',
    summary: 'Takes a group its roles; who belongs to it still does, and rights given to it hold on.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'groups delete doctors',
    async run(session) {
      const [name] = session.args as [string];
      await session.clients.identity.deleteGroup({ name });
      session.line(session.json ? JSON.stringify({ deleted: name }) : `${name} brings no roles`);
    },
  },
};

/** `registry editor, prompt invoker`, or one word where it is the same everywhere. */
function levelsText(levels: Readonly<Record<string, Role>>): string {
  const areas = Object.entries(levels);
  const [first] = areas;
  if (areas.length > 6 && areas.every(([, level]) => level === first![1]))
    return `${member(Role, first![1])} everywhere`;
  return areas.map(([area, level]) => `${area} ${member(Role, level)}`).join(', ');
}
