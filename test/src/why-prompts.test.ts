/** What WhyAllowed says of prompts is what calls come to, for random rules, people, keys and methods. */

import { afterAll, beforeAll, expect, test } from 'vitest';
import { PromptMesh } from './prompt-mesh.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED || Math.floor(Math.random() * 2 ** 31));
console.info(`why on prompts: LANDFALL_TEST_SEED=${seed}`);

let mesh: PromptMesh | undefined;
beforeAll(async () => {
  mesh = await PromptMesh.start();
}, 60_000);
afterAll(() => mesh?.[Symbol.asyncDispose]());

/** mulberry32 */
function random(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const ACCESS = 'landfall.prompt.v1.PromptAccessService';
const PROMPTS = 'landfall.prompt.v1.PromptService';
const ADMIN = 'landfall.gateway.v1';

/** One that asks for each right, of which repeats change nothing that the others meet. */
const CALLS: readonly (readonly [method: string, body: (name: string) => object])[] = [
  [`${PROMPTS}/GetPrompt`, (name) => ({ name })],
  [`${PROMPTS}/RenderPrompt`, (name) => ({ name, version: '1.0.0', variables: { q: 'x' } })],
  [`${PROMPTS}/SetLabel`, (name) => ({ name, label: 'live', version: '1.0.0' })],
  [`${ACCESS}/ListGrants`, (prompt) => ({ target: { prompt } })],
  [
    `${ACCESS}/GrantRight`,
    (prompt) => ({ target: { prompt }, grantee: 'user:nobody', right: 'PROMPT_RIGHT_VIEWER' }),
  ],
];

async function sent(who: string, method: string, body: object): Promise<Record<string, never>> {
  const reply = await mesh!.post(who, method, body);
  const text = await reply.text();
  if (!reply.ok) throw new Error(`${method} by ${who}: ${text}`);
  return JSON.parse(text);
}

interface Why {
  allowed?: boolean;
  reason: string;
  policies?: string[];
  restricted?: boolean;
}

test('explanations agree with decisions, of oneself and of others', async (t) => {
  if (!mesh) return t.skip();
  const next = random(seed);
  const pick = <T>(of: readonly T[]): T => of[Math.floor(next() * of.length)]!;
  const folders = ['', 'a', 'a/b', 'c'];
  const prompts: string[] = [];
  for (const [i, folder] of folders.entries()) {
    prompts.push(`p-${i}`);
    await mesh.makePrompt('admin', `p-${i}`, folder);
  }
  const groups = ['doctors', 'board'];
  await sent('admin', `${ADMIN}.IdentityService/SetGroup`, { group: { name: 'board', roles: ['editor'] } });

  // People with keys of their own, and a key that may do less than its owner.
  const people: { who: string; subject: string }[] = [];
  for (const [i, role] of ['viewer', 'invoker', 'editor', 'prompt-editor', 'auditor'].entries()) {
    const subject = `user:u${i}`;
    const member = { subject, roles: [role], groups: groups.filter(() => next() < 0.5) };
    await sent('admin', `${ADMIN}.IdentityService/SetMember`, { member });
    const other = member.groups.includes('board') ? 'editor' : 'viewer';
    for (const roles of [[role], [other]]) {
      const who = `${role} by a key of ${roles}`;
      const { key, secret } = (await sent('admin', `${ADMIN}.AdminService/CreateKey`, {
        ...{ name: 'k', roles, owner: subject },
      })) as unknown as { key: { id: string }; secret: string };
      mesh.keys.set(who, secret);
      people.push({ who, subject: `key:${key.id}` });
    }
  }

  const targets = [...prompts.map((prompt) => ({ prompt })), ...folders.map((folder) => ({ folder }))];
  const grantees = ['user:u0', 'user:u1', 'user:u2', 'user:u3', 'group:doctors', 'group:board', 'everyone'];
  const rights = ['VIEWER', 'INVOKER', 'EDITOR', 'OWNER'];
  const tally = { allowed: 0, refused: 0, granted: 0, restricted: 0 };
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 4; i++) {
      await sent('admin', `${ACCESS}/GrantRight`, {
        ...{ target: pick(targets), grantee: pick(grantees), right: `PROMPT_RIGHT_${pick(rights)}` },
      });
      const wish = { target: pick(targets), restricted: next() < 0.6 };
      await sent('admin', `${ACCESS}/RestrictAccess`, wish);
    }
    const cells = people.flatMap((person) =>
      prompts.flatMap((name) => CALLS.map((call) => ({ ...person, name, call }))),
    );
    // A part of all: those that a seed picks.
    for (const { who, subject, name, call } of cells.filter(() => next() < 0.3)) {
      const [method, body] = call;
      const resource = `prompts/${name}`;
      const ask = { method, resource };
      const [done, own, told] = await Promise.all([
        mesh.post(who, method, body(name)),
        sent(who, `${ADMIN}.AdminService/WhyAllowed`, ask) as Promise<unknown> as Promise<Why>,
        sent('admin', `${ADMIN}.AdminService/WhyAllowed`, {
          ...ask,
          subject,
        }) as Promise<unknown> as Promise<Why>,
      ]);
      const cell = [round, who, method, name];
      const allowed = done.ok;
      if (!allowed) expect([cell, [403, 404].includes(done.status)]).toEqual([cell, true]);
      expect([cell, own.allowed ?? false, own.reason]).toEqual([cell, allowed, own.reason]);
      expect([cell, told.allowed ?? false, told.reason]).toEqual([cell, allowed, told.reason]);
      if (allowed) expect([cell, told.policies]).not.toEqual([cell, undefined]);
      tally[allowed ? 'allowed' : 'refused'] += 1;
      if (allowed && told.policies!.some((each) => each.startsWith('grant:'))) tally.granted += 1;
      if (told.restricted) tally.restricted += 1;
    }
  }
  console.info(`why on prompts: ${JSON.stringify(tally)}`);
  expect(Math.min(...Object.values(tally))).toBeGreaterThan(0);
}, 240_000);

test('what has no right on a prompt, and what is not there', async (t) => {
  if (!mesh) return t.skip();
  const why = (ask: object) => mesh!.post('admin', `${ADMIN}.AdminService/WhyAllowed`, ask);
  const render = `${PROMPTS}/RenderPrompt`;
  const missing = (await (await why({ method: render, resource: 'prompts/none' })).json()) as Why;
  expect([missing.allowed, missing.reason]).toEqual([
    undefined,
    expect.stringContaining('there is no prompts/none'),
  ]);
  for (const ask of [
    { method: 'landfall.registry.v1.RegistryService/GetModel', resource: 'prompts/x' },
    { method: `${PROMPTS}/LintPrompt`, resource: 'prompts/x' },
    { method: render, resource: 'prompts/../x' },
    { method: render, resource: 'prompts/' },
    { method: render, resource: 'folders/A/../B' },
  ]) {
    const reply = await why(ask);
    expect([ask, await reply.json()]).toMatchObject([ask, { code: 'invalid_argument' }]);
  }
  const folder = (await (
    await why({ method: `${PROMPTS}/CreatePrompt`, resource: 'folders/', roles: ['viewer'] })
  ).json()) as Why;
  expect(folder.allowed ?? false).toBe(false);
  // Of others the owners of a prompt are told, and whom they are not told of stays unknown.
  const asked = {
    method: render,
    resource: 'folders/c',
    subject: 'key:0198a1b2-67ee-7481-9e3b-174f9d2910fb',
  };
  expect((await why(asked)).status).toBe(404);
}, 60_000);
