import { levelOn } from '@landfall/common/identity/check.ts';
import { type Identity, roleReaches } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { expect, test } from 'vitest';
import { ResourcePolicies } from './resource-policies.ts';
import { type Grant, ResourceRules } from './resource-rules.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED || Math.floor(Math.random() * 2 ** 31));
console.log(`resource policies: LANDFALL_TEST_SEED=${seed}`);

/** mulberry32 */
function random(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test('what a signed identity says of rights is what the policies decide, for random rules', () => {
  const next = random(seed);
  const pick = <T>(of: readonly T[]): T => of[Math.floor(next() * of.length)]!;
  const levels = [Role.VIEWER, Role.INVOKER, Role.EDITOR];
  const grantees = ['key:1', 'key:2', 'group:a', 'group:b', 'everyone'];
  const resources = ['models/a', 'models/b', 'deployments/a', 'collections/c'];
  const policies = new ResourcePolicies();
  let allowed = 0;
  const rounds = 400;
  for (let round = 0; round < rounds; round++) {
    const grants = new Map<string, Grant>();
    for (let i = 0; i < next() * 6; i++) {
      const grant = { resource: pick(resources), grantee: pick(grantees), level: pick(levels) };
      grants.set(`${grant.resource} ${grant.grantee}`, grant);
    }
    const rules = new ResourceRules(
      [...grants.values()],
      resources.filter(() => next() < 0.4),
    );
    const who = { subject: pick(['key:1', 'key:2']), groups: ['a', 'b'].filter(() => next() < 0.5) };
    const role = pick([Role.UNSPECIFIED, ...levels, Role.ADMIN]);
    const rights = rules.rightsOf(who, Role.EDITOR);
    const caller: Identity = { ...who, tenant: 'acme', role, rights };
    const resource = pick(resources);
    const needed = pick([...levels, Role.ADMIN]);
    const decision = policies.decide(caller, { resource, needed }, rules).allowed;
    expect([round, roleReaches(levelOn(caller, resource).level, needed)]).toEqual([round, decision]);
    if (decision) allowed += 1;
  }
  // Neither side says the same of everything.
  expect(allowed).toBeGreaterThan(rounds / 10);
  expect(allowed).toBeLessThan((rounds * 9) / 10);
});
