import {
  CreateKeyResponseSchema,
  ListKeysResponseSchema,
  RevokeKeyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { type Command, enumOf, textOf } from '../command.ts';
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
    options: { role: { type: 'string', default: 'invoker' } },
    meaning: { role: 'viewer, invoker (default), editor or admin' },
    example: 'keys create web-client --role invoker',
    async run(session) {
      const role = enumOf(Role, textOf(session.values, 'role'), '--role');
      const reply = await session.clients.admin.createKey({ name: session.args[0]!, role });
      session.print(CreateKeyResponseSchema, reply, () => reply.secret);
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
