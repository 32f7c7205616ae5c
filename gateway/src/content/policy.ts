import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { PERSONAL_DATA_TYPES, type PersonalDataType } from '@landfall/masking/mask.ts';
import { type CompiledRule, compileRule, RuleError } from '@landfall/masking/rules.ts';
import {
  type ContentPolicy,
  type ContentRule,
  type FilterRule,
  PersonalDataAction,
  type PersonalDataRule,
} from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { Check } from './check.ts';
import { Filter } from './filter.ts';

/** What holds for one call. */
export interface Decision {
  /** Number of the rule that fits; -1 for none. */
  readonly rule: number;
  readonly requests: Check | undefined;
  readonly answers: Check | undefined;
  /** Whether images of requests are read. */
  readonly readsImages: boolean;
}

const NOTHING: Decision = { rule: -1, requests: undefined, answers: undefined, readsImages: false };

/** A version of a policy, ready to decide. */
export class CompiledPolicy {
  readonly version: number;
  readonly generation: number;
  readonly #rules: { routes: readonly string[]; roles: ReadonlySet<string>; decision: Decision }[];
  /** By route and roles; there are few of both. */
  readonly #known = new Map<string, Decision>();

  /** @throws LandfallError INVALID_ARGUMENT that names the field */
  constructor(policy: ContentPolicy, version: number) {
    this.version = version;
    this.generation = policy.pseudonymGeneration;
    const custom = customRules(policy);
    this.#rules = policy.rules.map((rule, i) => ({
      routes: rule.routes,
      roles: new Set(rule.roles),
      decision: decisionOf(rule, i, custom),
    }));
  }

  /** @param routes all names that the call goes by: its method's, and its HTTP route */
  decide(routes: readonly string[], caller: Pick<Identity, 'role' | 'roles'>): Decision {
    if (this.#rules.length === 0) return NOTHING;
    const roles = rolesOf(caller);
    const key = `${routes.join(' ')}\n${roles.join(' ')}`;
    const known = this.#known.get(key);
    if (known) return known;
    const rule = this.#rules.find(
      (one) =>
        (one.roles.size === 0 || roles.some((role) => one.roles.has(role))) &&
        one.routes.some((pattern) => routes.some((route) => fits(pattern, route))),
    );
    const decision = rule?.decision ?? NOTHING;
    if (this.#known.size < MOST_KNOWN) this.#known.set(key, decision);
    return decision;
  }
}

const MOST_KNOWN = 10_000;

/** Names of a caller's roles, and of its level. */
function rolesOf({ role, roles = [] }: Pick<Identity, 'role' | 'roles'>): string[] {
  return [...roles, (Role[role] ?? '').toLowerCase()];
}

/** A caller of a named role, or the one who asks. */
export function asRole(role: string, caller: Identity): Pick<Identity, 'role' | 'roles'> {
  if (role === '') return caller;
  const level = Role[role.toUpperCase() as keyof typeof Role];
  return { role: level ?? Role.UNSPECIFIED, roles: [role] };
}

function fits(pattern: string, route: string): boolean {
  return pattern.endsWith('*') ? route.startsWith(pattern.slice(0, -1)) : pattern === route;
}

function customRules(policy: ContentPolicy): Map<string, CompiledRule> {
  const known: readonly string[] = PERSONAL_DATA_TYPES;
  const made = new Map<string, CompiledRule>();
  for (const [i, rule] of policy.customRules.entries()) {
    const field = `policy.custom_rules[${i}]`;
    if (known.includes(rule.name) || made.has(rule.name))
      throw invalidArgument(`${field}.name`, 'is taken; choose another');
    try {
      made.set(rule.name, compileRule(rule));
    } catch (cause) {
      if (!(cause instanceof RuleError)) throw cause;
      throw invalidArgument(`${field}.pattern`, cause.message, { cause });
    }
  }
  return made;
}

function decisionOf(rule: ContentRule, number: number, custom: ReadonlyMap<string, CompiledRule>): Decision {
  const field = `policy.rules[${number}]`;
  const requests = checkOf(
    rule.requests,
    custom,
    filtersOf(rule.requestFilters, true, custom, `${field}.request_filters`),
    `${field}.requests`,
  );
  if (rule.readImages && !requests) {
    throw invalidArgument(
      `${field}.read_images`,
      'has nothing to look for; give requests that do more than pass, or request_filters',
    );
  }
  return {
    rule: number,
    requests,
    answers: checkOf(
      rule.answers,
      custom,
      filtersOf(rule.answerFilters, false, custom, `${field}.answer_filters`),
      `${field}.answers`,
    ),
    readsImages: rule.readImages,
  };
}

function filtersOf(
  rules: readonly FilterRule[],
  forRequests: boolean,
  custom: ReadonlyMap<string, CompiledRule>,
  field: string,
): Filter[] {
  const names = new Set<string>([...PERSONAL_DATA_TYPES, ...custom.keys()]);
  return rules.map((rule, i) => {
    if (names.has(rule.name)) throw invalidArgument(`${field}[${i}].name`, 'is taken; choose another');
    names.add(rule.name);
    return new Filter(rule, forRequests, `${field}[${i}]`);
  });
}

function checkOf(
  rules: readonly PersonalDataRule[],
  custom: ReadonlyMap<string, CompiledRule>,
  filters: readonly Filter[],
  field: string,
): Check | undefined {
  const actions = new Map<string, PersonalDataAction>();
  for (const [i, { types, action }] of rules.entries()) {
    for (const type of types) {
      const at = `${field}[${i}].types`;
      const known = custom.has(type) || (PERSONAL_DATA_TYPES as readonly string[]).includes(type);
      if (!known) {
        throw invalidArgument(
          at,
          `${type} is no kind of personal data; they are ${PERSONAL_DATA_TYPES.join(', ')}, and custom_rules`,
        );
      }
      if (actions.has(type)) throw invalidArgument(at, `${type} stands in two rules; let one decide`);
      actions.set(type, action);
    }
  }
  const looked = [...actions]
    .filter(([, action]) => action !== PersonalDataAction.PASS)
    .map(([type]) => type);
  if (looked.length === 0 && filters.length === 0) return undefined;
  return new Check({
    actions,
    types: new Set(looked.filter((type): type is PersonalDataType => !custom.has(type))),
    rules: looked.flatMap((type) => custom.get(type) ?? []),
    filters,
  });
}
