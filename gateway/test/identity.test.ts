/** Who may: keys with roles, scopes and owners, their rotation, tenants, members, groups; through a real gateway. */

import { Code, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { IdentityService } from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GatewayMesh } from './harness.ts';

let mesh: GatewayMesh | undefined;
let seen: Identity | undefined;

beforeAll(async () => {
  const note = (identity: Identity) => {
    seen = identity;
    return {};
  };
  mesh = await GatewayMesh.start({
    async *generate() {},
    registry: {
      createModel: ({ name }, { identity }) => ({ ...note(identity), model: { name } }),
      listModels: (_, { identity }) => note(identity),
    },
    prompts: { listPrompts: (_, { identity }) => note(identity), createPrompt: () => ({}) },
  });
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const as = (secret: string) => {
  const transport = createConnectTransport({
    baseUrl: mesh!.url,
    httpVersion: '2',
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', `Bearer ${secret}`);
        return next(request);
      },
    ],
  });
  return {
    admin: createClient(AdminService, transport),
    identity: createClient(IdentityService, transport),
    registry: createClient(RegistryService, transport),
    prompts: createClient(PromptService, transport),
  };
};
const first = () => as(mesh!.apiKey);
const denied = { code: Code.PermissionDenied };
const stranger = { code: Code.Unauthenticated };
const model = { name: 'm', kind: Kind.BASE };

test('named roles mean a level in each area, in the gateway and in the service behind it', async (t) => {
  if (!mesh) return t.skip();
  const { secret } = await first().admin.createKey({ name: 'eng', roles: ['ml-engineer'] });
  const engineer = as(secret);
  await engineer.registry.createModel(model);
  expect(seen).toMatchObject({ role: Role.EDITOR, roles: ['ml-engineer'] });
  await engineer.prompts.listPrompts({});
  expect(seen).toMatchObject({ role: Role.INVOKER });
  await expect(engineer.prompts.createPrompt({ name: 'p', draft: {} })).rejects.toMatchObject(denied);
  await expect(engineer.admin.listKeys({})).rejects.toMatchObject(denied);
  const { levels, roles } = await engineer.identity.whoAmI({});
  expect(roles).toEqual(['ml-engineer']);
  expect(levels).toMatchObject({ registry: Role.EDITOR, prompt: Role.INVOKER, gateway: Role.VIEWER });
  // Together roles allow what each does.
  const both = await first().admin.createKey({ name: 'both', roles: ['ml-engineer', 'auditor'] });
  expect((await as(both.secret).admin.searchAudit({})).entries.length).toBeGreaterThan(0);
  await expect(as(both.secret).admin.setPolicy({ policy: {} })).rejects.toMatchObject(denied);
  const told = await first().identity.listRoles({});
  expect(told.roles.find(({ name }) => name === 'auditor')!.methods).toContain(
    'landfall.gateway.v1.AdminService/SearchAudit',
  );
});

test('what is no role, or said twice, is refused by its field', async (t) => {
  if (!mesh) return t.skip();
  const { admin } = first();
  const bad = { code: Code.InvalidArgument };
  await expect(admin.createKey({ name: 'x', roles: ['king'] })).rejects.toMatchObject(bad);
  await expect(admin.createKey({ name: 'x' })).rejects.toMatchObject(bad);
  const both = { name: 'x', role: Role.VIEWER, roles: ['viewer'] };
  await expect(admin.createKey(both)).rejects.toMatchObject(bad);
  await expect(admin.createKey({ name: 'x', roles: ['__proto__'] })).rejects.toMatchObject(bad);
  for (const scope of ['models/../x', 'landfall.*', 'models/', 'landfall.x.v1.S/*/y', '*']) {
    await expect(admin.createKey({ name: 'x', roles: ['viewer'], scopes: [scope] })).rejects.toMatchObject(
      bad,
    );
  }
});

test('scopes leave of a key what they name, and pass to no other', async (t) => {
  if (!mesh) return t.skip();
  const registry = 'landfall.registry.v1.RegistryService/*';
  const one = await first().admin.createKey({
    name: 'one',
    roles: ['editor'],
    scopes: [registry, 'models/m'],
  });
  await as(one.secret).registry.createModel(model);
  await as(one.secret).registry.listModels({});
  await expect(as(one.secret).registry.createModel({ ...model, name: 'other' })).rejects.toMatchObject({
    code: Code.NotFound,
  });
  await expect(as(one.secret).prompts.listPrompts({})).rejects.toMatchObject(denied);
  const admin = 'landfall.gateway.v1.*';
  const scoped = await first().admin.createKey({ name: 'a', roles: ['admin'], scopes: [admin] });
  const wider = { name: 'b', roles: ['viewer'] };
  await expect(as(scoped.secret).admin.createKey(wider)).rejects.toMatchObject(denied);
  await expect(as(scoped.secret).admin.createKey({ ...wider, scopes: [registry] })).rejects.toMatchObject(
    denied,
  );
  const within = 'landfall.gateway.v1.IdentityService/WhoAmI';
  await as(scoped.secret).admin.createKey({ ...wider, scopes: [within] });
  // Nor by rotation, which hands out a secret of what the old key may.
  const { keys } = await first().admin.listKeys({});
  const widest = keys.find(({ name }) => name === 'first')!;
  await expect(as(scoped.secret).admin.rotateKey({ id: widest.id })).rejects.toMatchObject(denied);
});

test('a key of an owner does no more than they, and ends with them', async (t) => {
  if (!mesh) return t.skip();
  const { admin, identity } = first();
  const subject = 'user:alice';
  const owned = { name: 'a', roles: ['editor'], owner: subject };
  await expect(admin.createKey(owned)).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await identity.setGroup({ group: { name: 'writers', roles: ['prompt-editor'] } });
  await identity.setMember({ member: { subject, roles: ['viewer'], groups: ['writers'] } });
  await expect(admin.createKey(owned)).rejects.toMatchObject(denied);
  const { secret, key } = await admin.createKey({ ...owned, roles: ['prompt-editor'] });
  const alice = as(secret);
  await alice.prompts.listPrompts({});
  expect(seen).toMatchObject({ subject, keyId: key!.id, groups: ['writers'], role: Role.EDITOR });
  await identity.deleteGroup({ name: 'writers' });
  await alice.prompts.listPrompts({});
  expect(seen).toMatchObject({ role: Role.VIEWER });
  await identity.setMember({ member: { subject, roles: ['viewer'], disabled: true } });
  await expect(alice.prompts.listPrompts({})).rejects.toMatchObject(stranger);
  await identity.setMember({ member: { subject, roles: ['viewer'] } });
  await alice.prompts.listPrompts({});
  await identity.deleteMember({ subject });
  await expect(alice.prompts.listPrompts({})).rejects.toMatchObject(stranger);
});

test('a key is rotated with an overlap, once, and at once where none is asked for', async (t) => {
  if (!mesh) return t.skip();
  const { admin } = first();
  const made = await admin.createKey({ name: 'r', roles: ['viewer'], scopes: ['models/m'] });
  const requestId = 'rotate-1';
  const next = await admin.rotateKey({ requestId, id: made.key!.id });
  expect(next.key).toMatchObject({ name: 'r', roles: ['viewer'], scopes: ['models/m'] });
  const left = Number(next.replaced!.expireTime!.seconds) - Date.now() / 1000;
  expect(left).toBeGreaterThan(86_000);
  expect(left).toBeLessThan(86_500);
  expect(next.replaced!.successorId).toBe(next.key!.id);
  await as(made.secret).registry.listModels({});
  await as(next.secret).registry.listModels({});
  const again = await admin.rotateKey({ requestId, id: made.key!.id });
  expect([again.key!.id, again.secret]).toEqual([next.key!.id, '']);
  await expect(admin.rotateKey({ id: made.key!.id })).rejects.toMatchObject({
    code: Code.FailedPrecondition,
  });
  const last = await admin.rotateKey({ id: next.key!.id, overlap: { seconds: 0n } });
  await expect(as(next.secret).registry.listModels({})).rejects.toMatchObject(stranger);
  await as(last.secret).registry.listModels({});
  const races = await Promise.allSettled([1, 2, 3].map(() => admin.rotateKey({ id: last.key!.id })));
  expect(races.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});

test('tenants are kept by the first one, and know nothing of one another', async (t) => {
  if (!mesh) return t.skip();
  const { identity } = first();
  const made = await identity.createTenant({ name: 'acme' });
  await expect(identity.createTenant({ name: 'acme' })).rejects.toMatchObject({ code: Code.AlreadyExists });
  const acme = as(made.secret);
  await acme.registry.listModels({});
  expect(seen).toMatchObject({ tenant: 'acme', role: Role.ADMIN });
  for (const act of [
    () => acme.identity.createTenant({ name: 'x' }),
    () => acme.identity.listTenants({}),
    () => acme.identity.updateTenant({ name: 'default', disabled: true }),
  ]) {
    await expect(act()).rejects.toMatchObject(denied);
  }
  const { keys } = await acme.admin.listKeys({});
  expect(keys.map(({ name }) => name)).toEqual(['first']);
  await expect(first().admin.revokeKey({ id: keys[0]!.id })).rejects.toMatchObject({ code: Code.NotFound });
  await expect(first().admin.rotateKey({ id: keys[0]!.id })).rejects.toMatchObject({ code: Code.NotFound });
  const cert = 'URI:spiffe://acme/ci';
  await acme.identity.setMember({ member: { subject: 'account:ci', certificates: [cert] } });
  expect((await acme.identity.getMember({ subject: 'account:ci' })).member!.certificates).toEqual([cert]);
  await expect(identity.getMember({ subject: 'account:ci' })).rejects.toMatchObject({ code: Code.NotFound });
  const thief = { subject: 'account:thief', certificates: [cert] };
  await expect(identity.setMember({ member: thief })).rejects.toMatchObject({ code: Code.AlreadyExists });
  await identity.updateTenant({ name: 'acme', disabled: true });
  await expect(acme.registry.listModels({})).rejects.toMatchObject(stranger);
  await identity.updateTenant({ name: 'acme' });
  await acme.registry.listModels({});
  await expect(identity.updateTenant({ name: 'default', disabled: true })).rejects.toMatchObject({
    code: Code.FailedPrecondition,
  });
});

test('members and groups are listed in pages', async (t) => {
  if (!mesh) return t.skip();
  const { identity } = first();
  for (const name of ['b', 'a', 'c']) await identity.setMember({ member: { subject: `user:page-${name}` } });
  const pages: string[] = [];
  let pageToken = '';
  do {
    const page = await identity.listMembers({ pageSize: 1, pageToken });
    pages.push(...page.members.map(({ subject }) => subject));
    pageToken = page.nextPageToken;
  } while (pageToken);
  expect(pages.filter((subject) => subject.startsWith('user:page-'))).toEqual(
    ['a', 'b', 'c'].map((name) => `user:page-${name}`),
  );
  await expect(identity.listMembers({ pageToken: 'JyBvciAx' })).rejects.toMatchObject({
    code: Code.InvalidArgument,
  });
});
