import { readFileSync } from 'node:fs';
import { roleReaches } from '@landfall/common/identity/identity.ts';
import { ruleOf } from '@landfall/common/identity/rule.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { LRUCache } from 'lru-cache';
import { publicMethods } from '../edge/services.ts';
import { AREAS, LEVELS, lineageOf } from './actions.ts';
import { Policies, policiesOf } from './cedar.ts';

/** What some roles allow together. */
export interface Allowance {
  /** Role by area; one that is not named is closed. */
  levels: Readonly<Record<string, Role>>;
  /** Methods beyond the levels, by full name. */
  methods: readonly string[];
}

export const ROLE_POLICIES: Readonly<Record<string, string>> = policiesOf(
  readFileSync(new URL('roles.cedar', import.meta.url), 'utf8'),
);
export const ROLE_NAMES: readonly string[] = Object.keys(ROLE_POLICIES);

/** Methods that policies name; all others are theirs by their level alone. */
const NAMED_METHODS: readonly string[] = [
  ...new Set(
    [
      ...Object.values(ROLE_POLICIES)
        .join()
        .matchAll(/Action::"(landfall\.[^"]+)"/g),
    ].map(([, name]) => name!),
  ),
];
for (const name of NAMED_METHODS) {
  if (!publicMethods.has(name)) throw new Error(`roles.cedar names a method that there is not: ${name}`);
}

const policies = new Policies('roles', { staticPolicies: { ...ROLE_POLICIES } });
const caller = { type: 'Caller', id: 'someone' };
const resource = { type: 'Resource', id: 'any' };
const anything = { uid: resource, attrs: { restricted: false }, parents: [] };
const asked = new LRUCache<string, Allowance>({ max: 1000 });

/** What roles allow, decided by their policies once for each set of them. */
export function allowanceOf(roles: readonly string[]): Allowance {
  const key = [...new Set(roles)].sort().join(' ');
  const known = asked.get(key) ?? decided(roles);
  asked.set(key, known);
  return known;
}

function decided(roles: readonly string[]): Allowance {
  const principal = { uid: caller, attrs: {}, parents: roles.map((id) => ({ type: 'Role', id })) };
  const allows = (id: string) =>
    policies.decide({
      ...{ principal: caller, action: { type: 'Action', id }, resource },
      entities: [principal, anything, ...lineageOf(id)],
    }).allowed;
  const levels: Record<string, Role> = {};
  for (const area of AREAS) {
    const highest = LEVELS.findLast(([, name]) => allows(`${area}/${name}`));
    if (highest) levels[area] = highest[0];
  }
  const methods = NAMED_METHODS.filter((name) => {
    const { area, needed } = ruleOf(publicMethods.get(name)!);
    return !roleReaches(levels[area] ?? Role.UNSPECIFIED, needed) && allows(name);
  });
  return { levels, methods };
}

/** What both allow. */
export function narrower(one: Allowance, other: Allowance): Allowance {
  const levels: Record<string, Role> = {};
  for (const [area, level] of Object.entries(one.levels)) {
    const most = other.levels[area] ?? Role.UNSPECIFIED;
    const least = roleReaches(most, level) ? level : most;
    if (least !== Role.UNSPECIFIED) levels[area] = least;
  }
  const may = (of: Allowance, name: string): boolean => {
    const rule = ruleOf(publicMethods.get(name)!);
    return of.methods.includes(name) || roleReaches(of.levels[rule.area] ?? Role.UNSPECIFIED, rule.needed);
  };
  const named = new Set([...one.methods, ...other.methods]);
  return { levels, methods: [...named].filter((name) => may(one, name) && may(other, name)) };
}

/** Whether `one` allows nothing that `other` does not. */
export function isWithin(one: Allowance, other: Allowance): boolean {
  const common = narrower(one, other);
  return (
    Object.entries(one.levels).every(([area, level]) => common.levels[area] === level) &&
    one.methods.every((name) => common.methods.includes(name))
  );
}
