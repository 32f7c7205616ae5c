import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  CreateKeyResponseSchema,
  ListKeysResponseSchema,
  RevokeKeyResponseSchema,
  RotateKeyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { type Command, enumOf, listOf, numberOf, textOf } from '../command.ts';
import { member, table } from '../render.ts';

export const keyCommands: Record<string, Command> = {
  'keys list': {
    usage: 'keys list',
    summary: 'API keys; secrets are not kept and not shown.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'keys list',
    async run(session) {
      const reply = await session.clients.admin.listKeys({ pageSize: 100 });
      session.print(ListKeysResponseSchema, reply, () =>
        table(
          ['ID', 'NAME', 'ROLE', 'PREFIX', 'STATE'],
          reply.keys.map(({ id, name, role, prefix, revokeTime }) => [
            id,
            name,
            member(Role, role),
            prefix,
            revokeTime ? 'revoked' : 'valid',
          ]),
        ),
      );
    },
  },
  'keys create': {
    usage: 'keys create NAME --role ROLE',
    summary: 'Makes a key; its secret is shown this once.',
    arguments: ['NAME'],
    options: {
      role: { type: 'string', default: 'invoker' },
      group: { type: 'string', multiple: true },
      owner: { type: 'string' },
      scope: { type: 'string', multiple: true },
    },
    meaning: {
      role: 'viewer, invoker (default), editor or admin',
      group: 'a group that its bearer belongs to; may be repeated',
      owner: 'user:NAME or account:NAME that it acts for, and may never do more than',
      scope: 'a method, service, model, deployment or collection that it is for alone; may be repeated',
    },
    example: 'keys create web-client --role invoker',
    async run(session) {
      const role = enumOf(Role, textOf(session.values, 'role'), '--role');
      const reply = await session.clients.admin.createKey({
        name: session.args[0]!,
        role,
        groups: listOf(session.values, 'group'),
        owner: textOf(session.values, 'owner'),
        scopes: listOf(session.values, 'scope'),
      });
      session.print(CreateKeyResponseSchema, reply, () => reply.secret);
    },
  },
  'keys rotate': {
    usage: 'keys rotate ID',
    summary: 'Makes a key in the place of one, that holds on for a while; the new secret is shown this once.',
    arguments: ['ID'],
    options: { overlap: { type: 'string', default: '24' } },
    meaning: { overlap: 'hours that the old key still holds (default 24; 0 ends it at once)' },
    example: 'keys rotate 0198a1b2-... --overlap 1',
    async run(session) {
      const hours = numberOf(session.values, 'overlap')!;
      const overlap = durationFromMs(Math.round(hours * 3_600_000));
      const reply = await session.clients.admin.rotateKey({ id: session.args[0]!, overlap });
      session.print(RotateKeyResponseSchema, reply, () => reply.secret);
    },
  },
  'keys revoke': {
    usage: 'keys revoke ID',
    summary: 'Ends a key at once.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'keys revoke 0198a1b2-...',
    async run(session) {
      const reply = await session.clients.admin.revokeKey({ id: session.args[0]! });
      session.print(RevokeKeyResponseSchema, reply, () => `${session.args[0]} is revoked`);
    },
  },
};
