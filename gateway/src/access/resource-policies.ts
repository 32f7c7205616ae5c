import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { NamedResource } from '@landfall/common/identity/resources.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { LRUCache } from 'lru-cache';
import { type Decision, Policies, policiesOf } from './cedar.ts';
import { granteesOf, type ResourceRules } from './resource-rules.ts';

const STANDING = policiesOf(readFileSync(new URL('resources.cedar', import.meta.url), 'utf8'));
/** A grant is a policy of its own, of this form: its id tells WhyAllowed whose it is. */
const GRANT =
  'permit (principal in ?principal, action in Action::"grant", resource == ?resource) when { context.needed <= LEVEL };';
const GRANTABLE = [Role.VIEWER, Role.INVOKER, Role.EDITOR];

const uid = (type: string, id: string) => ({ type, id });
const action = uid('Action', 'use');
const ACTION = { uid: action, attrs: {}, parents: [uid('Action', 'grant')] };

/** Decides by policies on resources of which something is said, and remembers what it decided. */
export class ResourcePolicies {
  readonly #decided = new LRUCache<string, Decision>({ max: 10_000 });
  /** Policies of a resource, by the rules that they were made from. */
  readonly #parsed = new LRUCache<string, { policies: Policies; rules: string }>({ max: 500 });

  decide(caller: Identity, { resource, needed }: NamedResource, rules: ResourceRules): Decision {
    const grantees = granteesOf(caller);
    const said = rules.of(resource);
    const kept = JSON.stringify([said.restricted, said.grants.map(({ grantee, level }) => [grantee, level])]);
    const key = JSON.stringify([caller.tenant, resource, kept, grantees, caller.role, needed]);
    const known = this.#decided.get(key);
    if (known) return known;
    const target = uid('Resource', resource);
    const principal = uid('Caller', caller.subject);
    const entities = [
      ACTION,
      { uid: principal, attrs: {}, parents: grantees.map((grantee) => uid('Grantee', grantee)) },
      { uid: target, attrs: { restricted: said.restricted }, parents: [] },
    ];
    const context = { held: caller.role, needed };
    const policies = this.#policies(`${caller.tenant}/${resource}`, kept, rules, resource);
    const decision = policies.decide({ principal, action, resource: target, entities, context });
    this.#decided.set(key, decision);
    return decision;
  }

  #policies(id: string, kept: string, rules: ResourceRules, resource: string): Policies {
    const known = this.#parsed.get(id);
    if (known?.rules === kept) return known.policies;
    const policies = new Policies(`resource ${createHash('sha256').update(id).digest('base64url')}`, {
      staticPolicies: { ...STANDING },
      templates: Object.fromEntries(
        GRANTABLE.map((level) => [`grant-${level}`, GRANT.replace('LEVEL', String(level))]),
      ),
      templateLinks: rules.of(resource).grants.map(({ grantee, level }) => ({
        templateId: `grant-${level}`,
        newId: `grant:${grantee}`,
        values: { '?principal': uid('Grantee', grantee), '?resource': uid('Resource', resource) },
      })),
    });
    this.#parsed.set(id, { policies, rules: kept });
    return policies;
  }
}
