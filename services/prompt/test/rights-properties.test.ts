import { randomUUID } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { type Identity, roleReaches } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { PromptRight } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { follow } from './label-histories.ts';
import { type Stage, stage } from './stage.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`rights: LANDFALL_TEST_SEED=${seed}`);

let at: Stage | undefined;
let seen: Awaited<ReturnType<typeof follow>>;
beforeAll(async () => {
  at = await stage({});
  if (at) seen = await follow(at.natsUrl);
});
afterAll(async () => {
  await seen?.[Symbol.asyncDispose]();
  await at?.[Symbol.asyncDispose]();
});

/** Names that are beginnings of one another, and one with what LIKE takes for any character. */
const FOLDERS = ['', 'a', 'a/b', 'a/b/c', 'a/bc', 'ab', 'a_b', 'a.b/c'];
const GRANTEES = ['user:li', 'user:wang', 'group:doctors', 'group:board', 'everyone'];
const folder = fc.constantFrom(...FOLDERS);
/** A folder, or one of the prompts by its number. */
const target = fc.oneof(folder, fc.nat(5));

const change = fc.oneof(
  fc.record({
    kind: fc.constant('grant' as const),
    ...{ target, grantee: fc.constantFrom(...GRANTEES), right: fc.integer({ min: 1, max: 4 }) },
  }),
  fc.record({ kind: fc.constant('revoke' as const), target, grantee: fc.constantFrom(...GRANTEES) }),
  fc.record({ kind: fc.constant('restrict' as const), target, restricted: fc.boolean() }),
  fc.record({ kind: fc.constant('move' as const), prompt: fc.nat(5), folder }),
);
type Change = typeof change extends fc.Arbitrary<infer C> ? C : never;

const course = fc.record({
  folders: fc.array(folder, { minLength: 6, maxLength: 6 }),
  changes: fc.array(change, { minLength: 6, maxLength: 25, size: 'max' }),
});

/** What rights come to, written down a second time: a prompt, its folder and all above it, asked one by one. */
class Model {
  readonly grants = new Map<string, number>();
  readonly restricted = new Set<string>();
  readonly folders: string[];

  constructor(folders: readonly string[]) {
    this.folders = [...folders];
  }

  /** `3` for a prompt, `a/b/` for a folder, `/` for all. */
  static key = (target: string | number) => (typeof target === 'number' ? `${target}` : `${target}/`);

  covering(prompt: number): string[] {
    const above = FOLDERS.filter(
      (one) => one === '' || this.folders[prompt] === one || this.folders[prompt]!.startsWith(`${one}/`),
    );
    return [`${prompt}`, ...above.map(Model.key)];
  }

  level(prompt: number, { subject, role, groups = [] }: Identity): number {
    const covering = this.covering(prompt);
    const grantees = [subject, ...groups.map((group) => `group:${group}`), 'everyone'];
    const granted = Math.max(
      0,
      ...covering.flatMap((key) => grantees.map((one) => this.grants.get(`${key} ${one}`) ?? 0)),
    );
    const isRestricted = covering.some((key) => this.restricted.has(key));
    const byRole = Math.min(role, 4);
    return isRestricted && !roleReaches(role, Role.ADMIN) ? granted : Math.max(granted, byRole);
  }
}

test('what folders, groups and grants come to is the same for lists, reads and explanations, and as one would work it out', async (t) => {
  if (!at) return t.skip();
  const { prompts, access } = at;
  const draft = { messages: [{ role: 'user', template: 'x' }] };
  let hidden = 0;
  await fc.assert(
    fc.asyncProperty(course, async ({ folders, changes }) => {
      // A tenant for each course: folders begin without rights.
      const tenant = `t-${randomUUID()}`;
      const admin = { identity: { subject: 'user:admin', tenant, role: Role.ADMIN } };
      const names = folders.map((_, i) => `p-${i}`);
      for (const [i, name] of names.entries())
        await prompts.createPrompt({ name, folder: folders[i]!, draft }, admin);
      const model = new Model(folders);
      for (const one of changes) await apply(one, model, admin);

      const people: Identity[] = [Role.VIEWER, Role.INVOKER, Role.EDITOR].flatMap((role) => [
        { subject: 'user:li', tenant, role },
        { subject: 'user:wang', tenant, role, groups: ['doctors'] },
        { subject: 'user:zhao', tenant, role, groups: ['board', 'doctors'] },
        { subject: 'user:nobody', tenant, role },
      ]);
      await Promise.all(
        [...people, admin.identity].map(async (identity) => {
          const levels = names.map((_, i) => model.level(i, identity));
          const listed = await prompts.listPrompts({}, { identity });
          const visible = names.filter((_, i) => levels[i]! > 0);
          expect(listed.prompts.map((row) => row.name)).toEqual(visible);
          hidden += names.length - visible.length;
          for (const [i, name] of names.entries()) {
            const ask = { target: { target: { case: 'prompt' as const, value: name } }, right: 3 };
            // Settled together: of two that are refused neither may be left alone while the other is waited for.
            const [explained, read] = await Promise.allSettled([
              access.explainRight(ask, { identity }),
              prompts.getPrompt({ name }, { identity }),
            ]);
            if (levels[i] === 0) {
              const refused = { status: 'rejected', reason: { code: status.NOT_FOUND } };
              expect([explained, read]).toMatchObject([refused, refused]);
            } else {
              const right = levels[i] as PromptRight;
              expect([explained, read]).toMatchObject([
                { status: 'fulfilled', value: { right, allowed: levels[i]! >= 3 } },
                { status: 'fulfilled', value: { prompt: { folder: model.folders[i] } } },
              ]);
            }
          }
        }),
      );
      const told = () => seen.events.filter((event) => event.payload.tenant === tenant);
      const target = { target: '' };
      const { records } = await access.searchPromptAudit({ ...target, pageSize: 500 }, admin);
      const changed = records.filter((one) => /^(right|access|prompt)\.(?!overridden)/.test(one.action));
      const events = () => told().filter((one) => one.subject === 'landfall.prompt.access.changed.v1');
      await expect.poll(() => events().length, { timeout: 10_000, interval: 10 }).toBe(changed.length);
      // Of each target the events are numbered without a gap, in the order of the stream and of the record.
      const count = new Map<unknown, number>();
      for (const { payload } of events()) {
        const next = (count.get(payload.target) ?? 0) + 1;
        expect(payload.revision).toBe(`${next}`);
        count.set(payload.target, next);
      }
    }),
    { seed, numRuns: 8 },
  );
  expect(hidden).toBeGreaterThan(0);

  async function apply(one: Change, model: Model, admin: { identity: Identity }) {
    const wanted = (of: string | number) => ({
      target:
        typeof of === 'number'
          ? { case: 'prompt' as const, value: `p-${of}` }
          : { case: 'folder' as const, value: of },
    });
    switch (one.kind) {
      case 'grant': {
        const { grantee, right } = one;
        await access.grantRight({ target: wanted(one.target), grantee, right }, admin);
        model.grants.set(`${Model.key(one.target)} ${grantee}`, right);
        return;
      }
      case 'revoke': {
        const given = `${Model.key(one.target)} ${one.grantee}`;
        const ask = { target: wanted(one.target), grantee: one.grantee };
        expect((await access.revokeRight(ask, admin)).revoked).toBe(model.grants.delete(given));
        return;
      }
      case 'restrict': {
        await access.restrictAccess({ target: wanted(one.target), restricted: one.restricted }, admin);
        if (one.restricted) model.restricted.add(Model.key(one.target));
        else model.restricted.delete(Model.key(one.target));
        return;
      }
      case 'move':
        await access.movePrompt({ name: `p-${one.prompt}`, folder: one.folder }, admin);
        model.folders[one.prompt] = one.folder;
    }
  }
}, 120_000);
