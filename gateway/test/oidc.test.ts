/** Tokens of an OpenID provider, through a real gateway and a real provider. */

import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readOidcProviders } from '../src/identity/oidc-config.ts';
import { GatewayMesh } from './harness.ts';
import { AUDIENCE, OpenIdProvider } from './openid-provider.ts';

const running = new AsyncDisposableStack();
let mesh: GatewayMesh | undefined;
let provider: OpenIdProvider;
let other: OpenIdProvider;
let seen: Identity | undefined;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'landfall-oidc-'));
  running.defer(() => rmSync(folder, { recursive: true, force: true }));
  provider = running.use(await OpenIdProvider.start());
  other = running.use(await OpenIdProvider.start());
  const common = { audience: [AUDIENCE], algorithms: ['ES256'], refresh_ms: 0 };
  const file = join(folder, 'oidc.json');
  const providers = [
    {
      ...{ ...common, issuer: provider.issuer, tenant: 'default', subject_claim: 'email' },
      ...{ groups_claim: 'groups', roles_claim: 'realm_access.roles', default_roles: ['viewer'] },
      roles: { scientist: ['ml-engineer'], boss: ['admin'] },
    },
    {
      ...{ ...common, issuer: other.issuer, tenant_claim: 'org', tenants: ['default', 'nowhere'] },
      default_roles: ['viewer'],
    },
  ];
  writeFileSync(file, JSON.stringify({ providers }));
  mesh = await GatewayMesh.start({
    async *generate() {},
    registry: {
      listModels: (_, { identity }) => {
        seen = identity;
        return {};
      },
      createModel: ({ name }) => ({ model: { name } }),
    },
    env: { LANDFALL_OIDC_FILE: file },
  });
  if (mesh) running.use(mesh);
});
afterAll(() => running.disposeAsync());

async function call(token: string, method = 'registry.v1.RegistryService/ListModels', body: object = {}) {
  const response = await fetch(`${mesh!.url}/landfall.${method}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  // biome-ignore lint/suspicious/noExplicitAny: JSON of any method.
  const read = (await response.json()) as any;
  return { status: response.status, code: read.code as string | undefined, body: read };
}

test('a token says who, and its claims what they may', async (t) => {
  if (!mesh) return t.skip();
  expect(await call(await provider.token())).toMatchObject({ status: 200 });
  expect(seen).toMatchObject({ subject: 'user:alice@acme.example', tenant: 'default', role: Role.VIEWER });
  const claims = {
    groups: ['lab', 'bad name', 7],
    realm_access: { roles: ['scientist', 'unmapped', 'admin'] },
  };
  expect((await call(await provider.token(claims))).status).toBe(200);
  expect(seen).toMatchObject({ role: Role.EDITOR, groups: ['lab'], roles: ['viewer', 'ml-engineer'] });
  const who = await call(await provider.token(claims), 'gateway.v1.IdentityService/WhoAmI');
  expect(who.body).toMatchObject({ subject: 'user:alice@acme.example', roles: ['viewer', 'ml-engineer'] });
  // The OpenAI API takes it, too.
  const models = await fetch(`${mesh.url}/v1/models`, {
    headers: { authorization: `Bearer ${await provider.token()}` },
  });
  expect(models.status).toBe(200);
});

test('what is kept of a user adds to the token, and disables them', async (t) => {
  if (!mesh) return t.skip();
  const set = (member: object) => call(mesh!.apiKey, 'gateway.v1.IdentityService/SetMember', { member });
  const subject = 'user:alice@acme.example';
  const create = async () =>
    (await call(await provider.token(), 'registry.v1.RegistryService/CreateModel', { name: 'm', kind: 1 }))
      .code;
  expect(await create()).toBe('permission_denied');
  await set({ subject, roles: ['ml-engineer'] });
  expect(await create()).toBeUndefined();
  await set({ subject, disabled: true });
  expect(await create()).toBe('unauthenticated');
  await call(mesh.apiKey, 'gateway.v1.IdentityService/DeleteMember', { subject });
  expect(await create()).toBe('permission_denied');
});

test('tokens that are forged, stale or meant for others are refused', async (t) => {
  if (!mesh) return t.skip();
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: provider.issuer, aud: AUDIENCE, sub: 'x', email: 'eve@acme.example', exp: now + 300 };
  const unsigned = `${encode({ alg: 'none' })}.${encode(claims)}.`;
  const hmac = (key: string) => {
    const text = `${encode({ alg: 'HS256', kid: provider.key.kid })}.${encode(claims)}`;
    return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
  };
  const good = await provider.token();
  const [head, body, signature] = good.split('.') as [string, string, string];
  const bad: Record<string, string> = {
    'alg none': unsigned,
    'alg nOnE': unsigned.replace(encode({ alg: 'none' }), encode({ alg: 'nOnE' })),
    'HS256 with the public key': hmac(await provider.publicPem()),
    'HS256 with its JWK': hmac(JSON.stringify(provider.key.jwk)),
    'another audience': await provider.token({}, (jwt) => jwt.setAudience('somebody')),
    'no audience': await provider.token({ aud: undefined }, (jwt) => jwt.setAudience([])),
    expired: await provider.token({}, (jwt) => jwt.setExpirationTime('-1m')),
    'without an end': await new SignJWT({ ...claims, exp: undefined as never })
      .setProtectedHeader({ alg: 'ES256', kid: provider.key.kid })
      .sign(provider.key.privateKey),
    'not yet': await provider.token({}, (jwt) => jwt.setNotBefore('1h')),
    'another issuer': await provider.token({}, (jwt) => jwt.setIssuer('https://evil.example')),
    'the issuer of other keys': await provider.token({}, (jwt) => jwt.setIssuer(other.issuer)),
    'keys of another provider': await provider.token({}, undefined, { key: other.key }),
    'an unknown key': await provider.token({}, undefined, { header: { kid: 'x' } }),
    'an address of keys of its own': await provider.token({}, undefined, {
      ...{ key: other.key, header: { jku: `${other.issuer}/keys` } },
    }),
    'a key of its own': await provider.token({}, undefined, {
      ...{ key: other.key, header: { kid: undefined, jwk: other.key.jwk } },
    }),
    'claims changed': [head, encode(claims), signature].join('.'),
    'a cut signature': `${head}.${body}.${signature.slice(0, -4)}`,
    'no signature': `${head}.${body}.`,
    'nobody’s name': await provider.token({ email: 'a b' }),
    'a name of another kind': await provider.token({ email: ['alice@acme.example'] }),
    'claims that are no object': `${head}.${Buffer.from('[]').toString('base64url')}.${signature}`,
    'no JSON': 'a.b.c',
  };
  for (const [what, token] of Object.entries(bad)) {
    const answer = await call(token);
    expect([what, answer.status, answer.code]).toEqual([what, 401, 'unauthenticated']);
    expect(JSON.stringify(answer.body)).not.toContain(token.slice(-20));
  }
  expect((await call(good)).status).toBe(200);
});

test('a provider speaks for the tenants that it may, where they are kept', async (t) => {
  if (!mesh) return t.skip();
  expect((await call(await other.token({ org: 'default' }))).status).toBe(200);
  expect(seen).toMatchObject({ subject: 'user:00u1', tenant: 'default' });
  for (const org of ['nowhere', 'acme', undefined, ['default']]) {
    expect((await call(await other.token({ org }))).code).toBe('unauthenticated');
  }
});

test('keys are rotated while calls run, and read once for many', async (t) => {
  if (!mesh) return t.skip();
  const before = await provider.token({ jti: 'before' });
  expect((await call(before)).status).toBe(200);
  const old = provider.key;
  await provider.rotate();
  const reads = provider.reads;
  const tokens = await Promise.all(Array.from({ length: 8 }, (_, i) => provider.token({ jti: `${i}` })));
  const answers = await Promise.all(tokens.map((token) => call(token)));
  expect(answers.map(({ status }) => status)).toEqual(tokens.map(() => 200));
  expect(provider.reads - reads).toBeLessThan(8);
  expect((await call(await provider.token({ jti: 'late' }, undefined, { key: old }))).code).toBe(
    'unauthenticated',
  );
  // A provider that is away is no reason to let in, nor to call the caller a liar; known keys go on.
  provider.isAway = true;
  expect((await call(await provider.token({ jti: 'known' }))).status).toBe(200);
  await provider.rotate();
  expect((await call(await provider.token({ jti: 'new' }))).code).toBe('unavailable');
  provider.isAway = false;
  expect((await call(await provider.token({ jti: 'back' }))).status).toBe(200);
});

test('a configuration that would take too much is refused by its field', () => {
  const file = join(folder, 'bad.json');
  const good = { issuer: 'https://id.example', audience: ['x'], tenant: 'default' };
  const read = (change: object) => {
    writeFileSync(file, JSON.stringify({ providers: [{ ...good, ...change }] }));
    return readOidcProviders({ LANDFALL_OIDC_FILE: file });
  };
  expect(read({})).toMatchObject([{ algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'] }]);
  for (const [change, field] of [
    [{ issuer: 'http://id.example' }, 'issuer'],
    [{ issuer: 'file:///x' }, 'issuer'],
    [{ audience: [] }, 'audience'],
    [{ algorithms: ['HS256'] }, 'algorithms'],
    [{ algorithms: ['none'] }, 'algorithms'],
    [{ algorithms: [] }, 'algorithms'],
    [{ tenant: undefined }, 'tenant'],
    [{ tenant: undefined, tenant_claim: 'org' }, 'tenants'],
    [{ roles: { boss: 'admin' } }, 'roles'],
    [{ audiences: [] }, 'audiences'],
  ] as const) {
    expect(() => read(change)).toThrow(`providers[0].${field}`);
  }
});
