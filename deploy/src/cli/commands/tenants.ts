import { create } from '@bufbuild/protobuf';
import {
  CreateTenantResponseSchema,
  ListTenantsResponseSchema,
  UpdateTenantResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { allPages, type Command, type Session, textOf } from '../command.ts';
import { table } from '../render.ts';
import { time } from './prompt-targets.ts';

/** Who shares a mesh and nothing of what is in it; for administrators of its first tenant. */
export const tenantCommands: Record<string, Command> = {
  'tenants list': {
    usage: 'tenants list',
    summary: "Tenants of the mesh; for the first one's administrators.",
    arguments: [],
    options: {},
    meaning: {},
    example: 'tenants list',
    async run(session) {
      const { identity } = session.clients;
      const tenants = await allPages(async (page) => {
        const reply = await identity.listTenants(page);
        return { items: reply.tenants, nextPageToken: reply.nextPageToken };
      });
      session.print(ListTenantsResponseSchema, create(ListTenantsResponseSchema, { tenants }), () =>
        table(
          ['TENANTS', 'NAME', 'STATE', 'SINCE'],
          tenants.map(({ name, displayName, disabled, createTime }) => [
            ...[name, displayName, disabled ? 'disabled' : 'enabled', time(createTime)],
          ]),
        ),
      );
    },
  },
  'tenants create': {
    usage: 'tenants create NAME',
    summary: "Makes a tenant and its administrator's key; its secret is shown this once.",
    arguments: ['NAME'],
    options: { name: { type: 'string' } },
    meaning: { name: 'for people to read' },
    example: 'tenants create acme --name "ACME Hospital"',
    async run(session) {
      const reply = await session.clients.identity.createTenant({
        ...{ name: session.args[0]!, displayName: textOf(session.values, 'name') },
      });
      session.print(CreateTenantResponseSchema, reply, () => reply.secret);
    },
  },
  'tenants disable': {
    usage: 'tenants disable NAME',
    summary: 'Refuses all callers of a tenant.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'tenants disable acme',
    run: (session) => set(session, true),
  },
  'tenants enable': {
    usage: 'tenants enable NAME',
    summary: 'Lets the callers of a tenant in again.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'tenants enable acme',
    run: (session) => set(session, false),
  },
};

async function set(session: Session, disabled: boolean): Promise<void> {
  const [name] = session.args as [string];
  const reply = await session.clients.identity.updateTenant({ name, disabled });
  session.print(
    UpdateTenantResponseSchema,
    reply,
    () => `${name} is ${reply.tenant!.disabled ? 'disabled' : 'enabled'}`,
  );
}
