/** Rights on single models and deployments, through a real gateway and a server that checks them again. */

import { Code, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { AccessService } from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { IdentityService } from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GatewayMesh } from './harness.ts';

const MODELS = ['open', 'secret', 'plain', 'shown', 'last'];

let mesh: GatewayMesh | undefined;

beforeAll(async () => {
  mesh = await GatewayMesh.start({
    async *generate() {
      yield { delta: 'x' };
      yield { finishReason: FinishReason.STOP, usage: { inputTokens: 1, outputTokens: 1 } };
    },
    registry: {
      getModel: ({ name }) => ({ model: { name } }),
      listModels: ({ pageSize, pageToken }) => {
        const to = Number(pageToken) + (pageSize || 2);
        const models = MODELS.slice(Number(pageToken), to).map((name) => ({ name }));
        return { models, nextPageToken: to < MODELS.length ? `${to}` : '' };
      },
      setAlias: () => ({}),
      async uploadArtifact(requests) {
        for await (const _ of requests);
        return {};
      },
    },
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
    secret,
    access: createClient(AccessService, transport),
    admin: createClient(AdminService, transport),
    identity: createClient(IdentityService, transport),
    registry: createClient(RegistryService, transport),
    text: createClient(TextInferenceService, transport),
  };
};
const first = () => as(mesh!.apiKey);
const key = async (role: Role, groups: string[] = []) => {
  const { key, secret } = await first().admin.createKey({ name: 'k', role, groups });
  return { id: key!.id, ...as(secret) };
};
const denied = { code: Code.PermissionDenied };
const unknown = { code: Code.NotFound };

async function generate({ text }: ReturnType<typeof as>, model: string): Promise<string> {
  let all = '';
  for await (const { delta } of text.generate({ model, prompt: 'x' })) all += delta;
  return all;
}

async function chat(secret: string, model: string): Promise<number> {
  const response = await fetch(`${mesh!.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'x' }] }),
  });
  return response.status;
}

test('a restricted resource is there for those with a grant alone, on every way', async (t) => {
  if (!mesh) return t.skip();
  const { access } = first();
  const editor = await key(Role.EDITOR);
  const doctor = await key(Role.INVOKER, ['doctors']);
  await editor.registry.getModel({ name: 'secret' });
  await access.restrictResource({ resource: 'models/secret', restricted: true });
  await access.restrictResource({ resource: 'deployments/qa', restricted: true });
  await access.grantRight({ resource: 'models/secret', grantee: 'group:doctors', right: Role.VIEWER });
  await access.grantRight({ resource: 'deployments/qa', grantee: 'group:doctors', right: Role.INVOKER });
  await expect(editor.registry.getModel({ name: 'secret' })).rejects.toMatchObject(unknown);
  await expect(generate(editor, 'qa')).rejects.toMatchObject(unknown);
  expect(await chat(editor.secret, 'qa')).toBe(404);
  const names = async ({ registry }: typeof editor) => {
    const first = await registry.listModels({});
    const rest = await registry.listModels({ pageToken: first.nextPageToken, pageSize: 10 });
    return [first, rest].map(({ models }) => models.map(({ name }) => name));
  };
  // What is not shown takes no place of a page.
  expect(await names(editor)).toEqual([
    ['open', 'plain'],
    ['shown', 'last'],
  ]);
  const listed = (secret: string) =>
    fetch(`${mesh!.url}/v1/models`, { headers: { authorization: `Bearer ${secret}` } }).then((each) =>
      each.json(),
    );
  expect(await listed(editor.secret)).toMatchObject({ data: [] });
  expect(await listed(doctor.secret)).toMatchObject({ data: [{ id: 'qa' }] });
  await doctor.registry.getModel({ name: 'secret' });
  expect(await names(doctor)).toEqual([
    ['open', 'secret'],
    ['plain', 'shown', 'last'],
  ]);
  expect(await generate(doctor, 'qa')).toBe('x');
  expect(await chat(doctor.secret, 'qa')).toBe(200);
  // Administrators keep what is restricted.
  await first().registry.getModel({ name: 'secret' });
  await access.restrictResource({ resource: 'deployments/qa', restricted: false });
  expect(await generate(editor, 'qa')).toBe('x');
});

test('a grant opens one resource to a lower role, and is taken back', async (t) => {
  if (!mesh) return t.skip();
  const { access } = first();
  const viewer = await key(Role.VIEWER);
  const move = (name: string) => viewer.registry.setAlias({ name, alias: 'live', version: '1.0.0' });
  const upload = (name: string) => {
    async function* parts() {
      yield { part: { case: 'header' as const, value: { name, version: '1.0.0', path: 'x' } } };
      for (let i = 0; i < 3; i++) yield { part: { case: 'chunk' as const, value: new Uint8Array(10) } };
    }
    return viewer.registry.uploadArtifact(parts());
  };
  await expect(move('open')).rejects.toMatchObject(denied);
  const grant = { resource: 'models/open', grantee: `key:${viewer.id}` };
  await access.grantRight({ ...grant, right: Role.EDITOR });
  await move('open');
  await upload('open');
  await expect(move('other')).rejects.toMatchObject(denied);
  await expect(upload('other')).rejects.toMatchObject(denied);
  await expect(viewer.registry.createModel({ name: 'new', kind: 1 })).rejects.toMatchObject(denied);
  await access.revokeRight(grant);
  await expect(move('open')).rejects.toMatchObject(denied);
});

test('WhyAllowed names role, group, grant and restriction', async (t) => {
  if (!mesh) return t.skip();
  const { access, admin, identity } = first();
  const method = 'landfall.registry.v1.RegistryService/SetAlias';
  const why = (request: object) => admin.whyAllowed({ method, ...request });
  expect(await why({ roles: ['auditor'] })).toMatchObject({
    allowed: false,
    needed: Role.EDITOR,
    level: Role.VIEWER,
    reason: expect.stringContaining('needs the role editor; auditor (viewer in registry) does not reach it'),
  });
  await identity.setGroup({ group: { name: 'lab', roles: ['ml-engineer'] } });
  const subject = 'user:bob';
  await identity.setMember({ member: { subject, roles: ['viewer'], groups: ['lab'] } });
  expect(await why({ subject })).toMatchObject({
    allowed: true,
    roles: ['ml-engineer'],
    groups: ['lab'],
    reason: expect.stringContaining('ml-engineer by the group lab reaches it'),
  });
  const resource = 'models/kept';
  await access.restrictResource({ resource, restricted: true });
  expect(await why({ subject, resource })).toMatchObject({ allowed: false, restricted: true, policies: [] });
  await access.grantRight({ resource, grantee: 'group:lab', right: Role.EDITOR });
  expect(await why({ subject, resource })).toMatchObject({ allowed: true, policies: ['grant:group:lab'] });
  expect(await why({ resource })).toMatchObject({ allowed: true, policies: ['administrator'] });
  const { grants, restricted } = await access.listRights({ resource });
  expect([grants.map(({ grantee }) => grantee), restricted]).toEqual([['group:lab'], [resource]]);
  await identity.setMember({ member: { subject, roles: ['viewer'], disabled: true } });
  await expect(why({ subject })).rejects.toMatchObject(unknown);
  // Others are none of a viewer's business.
  const viewer = await key(Role.VIEWER);
  await expect(
    viewer.admin.whyAllowed({ method, subject: `key:${(await key(1)).id}` }),
  ).rejects.toMatchObject(denied);
  expect((await viewer.admin.whyAllowed({ method })).allowed).toBe(false);
});

test('rights beyond what identities can carry are refused', async (t) => {
  if (!mesh) return t.skip();
  const { secret } = await first().identity.createTenant({ name: 'many' });
  const { access } = as(secret);
  const restrict = (name: string) =>
    access.restrictResource({ resource: `models/${name}`, restricted: true });
  for (let i = 0; i < 200; i += 4) {
    await Promise.all([0, 1, 2, 3].map((j) => restrict(`a-model-with-a-rather-long-name-${i + j}`)));
  }
  await expect(restrict('one-more')).rejects.toMatchObject({ code: Code.FailedPrecondition });
  // What is taken is carried: to the service, in one header.
  const viewer = as((await as(secret).admin.createKey({ name: 'v', role: Role.VIEWER })).secret);
  await viewer.registry.getModel({ name: 'open' });
  const last = viewer.registry.getModel({ name: 'a-model-with-a-rather-long-name-199' });
  await expect(last).rejects.toMatchObject(unknown);
}, 180_000);
