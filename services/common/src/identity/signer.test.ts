import { randomBytes } from 'node:crypto';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { SignJWT } from 'jose';
import { afterEach, expect, test, vi } from 'vitest';
import { type Identity, roleReaches } from './identity.ts';
import { IdentitySigner } from './signer.ts';

const key = randomBytes(32);
const someone = { subject: 'key:1', tenant: 'acme', role: Role.EDITOR };

afterEach(() => vi.useRealTimers());

test('a token carries its identity to every service with the key, and is made and checked once', async () => {
  const signer = new IdentitySigner(key);
  const made = await Promise.all(Array.from({ length: 10 }, () => signer.mint(someone)));
  expect(new Set(made).size).toBe(1);
  expect(signer.mint(someone)).toBe(made[0]);
  const other = new IdentitySigner(key);
  expect(await other.verify(made[0]!)).toEqual(someone);
  expect(other.verify(made[0]!)).toEqual(someone);
});

test('identities that differ have tokens that differ, whatever their names hold', async () => {
  const signer = new IdentitySigner(key);
  const pairs = [
    ['a', 'b c'],
    ['a b', 'c'],
    ['a\n', 'b'],
    ['a', '\nb'],
    ['', 'a b c'],
    ['1 a', 'b'],
  ] as const;
  for (const [tenant, subject] of pairs) {
    const identity = { tenant, subject, role: Role.VIEWER };
    expect(await signer.verify(await signer.mint(identity))).toEqual(identity);
    const member = { ...identity, groups: ['a', 'b c'] };
    expect(await signer.verify(await signer.mint(member))).toEqual(member);
  }
});

test('a token carries levels, roles, methods, rights and scopes', async () => {
  const signer = new IdentitySigner(key);
  const full: Identity = {
    ...{ ...someone, role: Role.UNSPECIFIED, groups: ['doctors'], roles: ['auditor', 'ml-engineer'] },
    ...{ keyId: 'k', levels: { registry: Role.EDITOR }, methods: ['a.B/C'], scopes: ['deployments/qa'] },
    rights: [
      { resource: 'models/qa', level: Role.EDITOR, restricted: false },
      { resource: 'models/x', level: Role.UNSPECIFIED, restricted: true },
    ],
  };
  const token = await signer.mint(full);
  expect(await new IdentitySigner(key).verify(token)).toEqual(full);
  expect(signer.mint(full)).toBe(token);
  expect(signer.mint(structuredClone(full))).toBe(token);
  expect(await signer.mint({ ...full, scopes: [] })).not.toBe(token);
});

test('a token ends, in the cache too, and is renewed before it does', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  const signer = new IdentitySigner(key);
  const token = await signer.mint(someone);
  expect(await signer.verify(token)).toEqual(someone);
  vi.advanceTimersByTime(4.5 * 60_000);
  expect(signer.verify(token)).toEqual(someone);
  expect(await signer.mint(someone)).not.toBe(token);
  vi.advanceTimersByTime(60_000);
  await expect(async () => signer.verify(token)).rejects.toMatchObject({ code: 16 });
});

test('claims that are missing or of another type are refused', async () => {
  const signer = new IdentitySigner(key);
  const sign = (claims: Record<string, unknown>, change = (jwt: SignJWT) => jwt) =>
    change(
      new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256' })
        .setIssuer('landfall')
        .setAudience('landfall-mesh')
        .setSubject('key:1')
        .setExpirationTime('5m'),
    ).sign(key);
  expect(await signer.verify(await sign({ tenant: 'acme', role: Role.ADMIN }))).toBeDefined();
  const wrong = [
    await sign({ role: Role.ADMIN }),
    await sign({ tenant: 'acme' }),
    await sign({ tenant: 'acme', role: 'ADMIN' }),
    await sign({ tenant: 'acme', role: 99 }),
    await sign({ tenant: 'acme', role: Role.ADMIN, groups: 'doctors' }),
    await sign({ tenant: 'acme', role: Role.ADMIN, groups: [1] }),
    await sign({ tenant: ['acme'], role: Role.ADMIN }),
    await sign({ tenant: 'acme', role: Role.ADMIN, levels: { registry: 99 } }),
    await sign({ tenant: 'acme', role: Role.ADMIN, levels: [] }),
    await sign({ tenant: 'acme', role: Role.ADMIN, rights: [['models/x', 99, 0]] }),
    await sign({ tenant: 'acme', role: Role.ADMIN, rights: 'all' }),
    await sign({ tenant: 'acme', role: Role.ADMIN, scopes: [1] }),
    await sign({ tenant: 'acme', role: Role.ADMIN }, (jwt) => jwt.setIssuer('somebody')),
    await sign({ tenant: 'acme', role: Role.ADMIN }, (jwt) => jwt.setExpirationTime('-1s')),
    `${await sign({ tenant: 'acme', role: Role.ADMIN })}x`,
    'x'.repeat(10_000),
  ];
  for (const token of wrong)
    await expect(async () => signer.verify(token)).rejects.toMatchObject({ code: 16 });
});

test('a key that is too short is refused', () => {
  expect(() => new IdentitySigner(randomBytes(31))).toThrow('31 bytes');
});

test('roles are ordered, and none reaches a method that declares none', () => {
  const order = [Role.VIEWER, Role.INVOKER, Role.EDITOR, Role.ADMIN, Role.SERVICE];
  for (const [i, have] of order.entries()) {
    for (const [j, needed] of order.entries()) expect(roleReaches(have, needed)).toBe(i >= j);
    expect(roleReaches(have, Role.UNSPECIFIED)).toBe(false);
    expect(roleReaches(have, Role.PUBLIC)).toBe(true);
  }
  for (const needed of order) {
    expect(roleReaches(Role.UNSPECIFIED, needed)).toBe(false);
    expect(roleReaches(Role.PUBLIC, needed)).toBe(false);
  }
});
