/** Commands for people, rights, content policies and webhooks, against a gateway and a prompt service. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PromptMesh } from './prompt-mesh.ts';

let mesh: PromptMesh | undefined;
beforeAll(async () => {
  mesh = await PromptMesh.start();
}, 60_000);
afterAll(() => mesh?.[Symbol.asyncDispose]());

const admin = (...words: string[]) => mesh!.run('admin', ...words);
const json = async (...words: string[]) => {
  const { code, text } = await admin(...words, '--json');
  expect([words, code]).toEqual([words, 0]);
  return JSON.parse(text.split('\n').at(-1)!);
};

test('users are added, changed, disabled and removed, each a change that the audit log has', async (t) => {
  if (!mesh) return t.skip();
  expect((await admin('groups', 'set', 'doctors', '--role', 'invoker')).text).toBe('doctors brings invoker');
  const added = await admin(
    ...['users', 'add', 'user:li', '--name', '李医生', '--role', 'viewer', '--group', 'doctors'],
    ...['--certificate', 'CN=li,O=acme'],
  );
  expect(added).toEqual({
    code: 0,
    text: 'user:li (李医生): enabled\nroles: viewer\ngroups: doctors\ncertificate: CN=li,O=acme',
  });
  // Adding again would take away what is not said again.
  expect(await admin('users', 'add', 'user:li')).toMatchObject({ code: 2 });
  expect(await admin('users', 'add', 'user:zhao', '--role', 'king')).toMatchObject({ code: 1 });
  await admin('users', 'roles', 'user:li', '--add', 'auditor', '--remove', 'viewer');
  await admin('users', 'groups', 'user:li', '--add', 'board');
  const left = await admin('users', 'roles', 'user:li', '--remove', 'viewer');
  expect(left).toEqual({ code: 2, text: "'viewer' is not among their roles: auditor" });
  const { members } = await json('users', 'list');
  expect(members).toMatchObject([
    {
      ...{ subject: 'user:li', displayName: '李医生', roles: ['auditor'], groups: ['doctors', 'board'] },
      certificates: ['CN=li,O=acme'],
    },
  ]);
  const key = await admin('keys', 'create', 'of-li', '--owner', 'user:li', '--role', 'viewer');
  mesh.keys.set('li', key.text);
  expect((await mesh.run('li', 'whoami')).text).toMatch(
    /^user:li of default: viewer\ngroups: doctors, board\n/,
  );
  expect((await admin('users', 'disable', 'user:li')).text).toContain('user:li (李医生): disabled');
  expect((await mesh.run('li', 'whoami')).text).toContain('Unauthenticated');
  expect((await admin('users', 'show', 'user:li')).text).toContain('certificate: CN=li,O=acme');
  await admin('users', 'enable', 'user:li');
  expect((await mesh.run('li', 'whoami')).code).toBe(0);
  expect((await admin('users', 'remove', 'user:li')).text).toBe('user:li is kept no longer');
  expect((await admin('users', 'list')).text).toBe('no users');
  expect((await mesh.run('li', 'whoami')).code).toBe(1);
  expect((await admin('groups', 'delete', 'doctors')).code).toBe(0);
  expect((await admin('groups', 'list')).text).toBe('no groups');
  expect((await admin('roles', 'list')).text).toMatch(/\nadmin +admin everywhere\n/);
  const { entries } = await json('audit', 'search', '--resource', 'members/user:li');
  expect((entries as { kind: string; method: string }[]).map(({ method }) => method)).toEqual([
    'landfall.gateway.v1.IdentityService/DeleteMember',
    ...Array(5).fill('landfall.gateway.v1.IdentityService/SetMember'),
  ]);
  // The same as lines, for other programs: each an object, and no page of them is left out.
  const exported = await admin('audit', 'export', '--resource', 'members/user:li');
  expect(exported.text.split('\n').map((line) => JSON.parse(line))).toEqual(entries);
}, 60_000);

test('rights are given, restricted, explained, listed and taken back', async (t) => {
  if (!mesh) return t.skip();
  const chat = 'deployments/chat';
  const why = (...words: string[]) => json('rights', 'why', 'TextInferenceService/Generate', ...words);
  const asInvoker = ['--role', 'invoker', '--resource', chat];
  expect(await why(...asInvoker)).toMatchObject({ allowed: true });
  expect((await admin('rights', 'restrict', chat)).text).toBe(`grants alone count on ${chat}`);
  expect((await why(...asInvoker)).allowed ?? false).toBe(false);
  expect((await admin('rights', 'list')).text).toMatch(/deployments\/chat +administrators only +alone/);
  await admin('users', 'add', 'account:ward', '--role', 'invoker', '--group', 'nurses');
  const granted = await admin('rights', 'grant', chat, 'group:nurses', 'invoker');
  expect(granted.text).toBe(`group:nurses has invoker on ${chat}`);
  const ward = ['--subject', 'account:ward', '--resource', chat];
  expect(await why(...ward)).toMatchObject({ allowed: true, policies: ['grant:group:nurses'] });
  expect((await admin('rights', 'why', 'Generate', ...ward)).text).toContain('by grant:group:nurses');
  expect((await admin('rights', 'list', '--resource', chat)).text).toMatch(/group:nurses +invoker +alone/);
  await admin('rights', 'revoke', chat, 'group:nurses');
  expect((await why(...ward)).allowed ?? false).toBe(false);
  await admin('rights', 'restrict', chat, '--open');
  expect(await why(...ward)).toMatchObject({ allowed: true });
  expect((await admin('rights', 'list')).text).toBe('no rights on');
  // Others' commands are refused, and the way to those rights is told.
  mesh.keys.set('viewer', (await admin('keys', 'create', 'v', '--role', 'viewer')).text);
  const refused = await mesh.run('viewer', 'rights', 'grant', chat, 'everyone', 'invoker');
  expect(refused).toMatchObject({ code: 1, text: expect.stringContaining('PermissionDenied') });
}, 60_000);

test('content policies are set from files, tried, and put back in force', async (t) => {
  if (!mesh) return t.skip();
  const phone = '我的电话是 13912345678';
  const set = async (action: string) => {
    const file = join(mesh!.folder, 'policy.json');
    const requests = [{ types: ['phone'], action: `PERSONAL_DATA_ACTION_${action}` }];
    const words = [{ name: 'gossip', words: ['八卦'], action: 'FILTER_ACTION_FLAG' }];
    writeFileSync(
      file,
      JSON.stringify({
        rules: [{ routes: ['*'], requests, ...(action === 'MASK' ? { requestFilters: words } : {}) }],
      }),
    );
    return admin('policies', 'set', file);
  };
  expect((await set('MASK')).text).toBe('version 1 is in force');
  expect((await admin('policies', 'try', phone)).text).toContain('[PHONE]');
  expect((await set('BLOCK')).text).toBe('version 2 is in force');
  expect((await admin('policies', 'try', phone)).text).toMatch(/refused +phone/);
  expect((await admin('policies', 'activate', '1')).text).toBe('version 1 is in force');
  expect((await admin('policies', 'list')).text).toMatch(/\n2 +1 [\s\S]*\n1 +yes /);
  const shown = await admin('policies', 'show');
  expect(JSON.parse(shown.text)).toMatchObject({ rules: [{ routes: ['*'] }] });

  // A call that the policy leaves to a person, from its pending answer to its passing.
  await mesh.makePrompt('admin', 'talk', '');
  mesh.keys.set('caller', (await admin('keys', 'create', 'c', '--role', 'invoker')).text);
  const ask = () =>
    mesh!.post('caller', 'landfall.prompt.v1.PromptService/RenderPrompt', {
      ...{ name: 'talk', version: '1.0.0', variables: { q: '八卦' } },
    });
  expect(await (await ask()).json()).toMatchObject({ code: 'failed_precondition' });
  const { reviews } = await json('content-reviews', 'list');
  const [{ id }] = reviews as [{ id: string }];
  expect((await admin('content-reviews', 'claim', id)).text).toContain('八卦');
  const decided = await admin('content-reviews', 'decide', id, '--approve', '--reason', 'harmless');
  expect(decided.text).toContain(`${id}: approved: harmless`);
  expect((await mesh.run('caller', 'content-reviews', 'show', id)).text).toContain('approved');
  expect((await ask()).status).toBe(200);
}, 60_000);

test('webhooks and tenants', async (t) => {
  if (!mesh) return t.skip();
  expect(await admin('webhooks', 'create', 'http://127.0.0.1/x')).toMatchObject({
    code: 1,
    text: expect.stringContaining('InvalidArgument'),
  });
  const subject = 'landfall.registry.model.ready.v1';
  const made = await admin('webhooks', 'create', 'https://1.1.1.1/events', '--subject', subject);
  const [id, secret] = made.text.split(' ') as [string, string];
  expect(secret).toMatch(/^whsec_/);
  expect((await admin('webhooks', 'list')).text).toMatch(
    new RegExp(`${id} +https://1.1.1.1/events +${subject}`),
  );
  expect((await admin('webhooks', 'delete', id)).text).toBe(`${id} is ended`);
  expect((await admin('webhooks', 'list')).text).toBe('no webhooks');

  mesh.keys.set('acme', (await admin('tenants', 'create', 'acme', '--name', 'ACME')).text);
  expect((await mesh.run('acme', 'whoami')).text).toContain('of acme: admin');
  expect((await mesh.run('acme', 'tenants', 'list')).code).toBe(1);
  expect((await admin('tenants', 'disable', 'acme')).text).toBe('acme is disabled');
  expect((await mesh.run('acme', 'whoami')).code).toBe(1);
  expect((await admin('tenants', 'list')).text).toMatch(/acme +ACME +disabled/);
  expect((await admin('tenants', 'enable', 'acme')).text).toBe('acme is enabled');
}, 60_000);
