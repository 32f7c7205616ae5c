import type { DescField, DescMessage, DescMethod, Message } from '@bufbuild/protobuf';
import { ScalarType } from '@bufbuild/protobuf';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { roleReaches } from './identity.ts';
import { type MethodRule, ruleOf } from './rule.ts';

/** A resource that a request names, and what the caller needs on it. */
export interface NamedResource {
  /** `models/NAME`, `deployments/NAME` or `collections/NAME`. */
  resource: string;
  needed: Role;
}

export type Kind = 'models' | 'deployments' | 'collections';

/** Fields whose text names a resource, in whatever message: its kind, unless the text says `models:/`. */
const REFERENCES: Readonly<Record<string, Kind>> = {
  model: 'deployments',
  judge_model: 'deployments',
  deployment: 'deployments',
  deployments: 'deployments',
  fallback_deployments: 'deployments',
  collection: 'collections',
  output_model: 'models',
  // The rest hold `models:/NAME/VERSION` and nothing else.
  base: 'models',
  base_model: 'models',
  dataset: 'models',
  datasets: 'models',
  train_dataset: 'models',
  earlier_datasets: 'models',
  evaluation_dataset: 'models',
  safety_dataset: 'models',
  validation_datasets: 'models',
  ref: 'models',
  refs: 'models',
};

/** Fields that name a resource only where they say `models:/`: elsewhere they hold versions, folders or people. */
const ONLY_REFERENCES = new Set([
  'first',
  'second',
  'from_version',
  'paraphrase_model',
  'vector_model',
  'embedding_model',
  'source',
  'from',
  'to',
]);

/** What the field `name` stands for at the top of a request, or of these parts of one, by area. */
const OWN: Readonly<Record<string, Kind>> = { registry: 'models', balancer: 'deployments' };
const OWN_PARTS = new Set(['header', 'policy', 'import']);
/** What a job makes is its own, wherever it is said. */
const OWN_FIELDS = new Set(['output_model']);

/** Deepest message that is looked into; a recursive one ends here. */
const DEEPEST = 6;

interface Step {
  field: DescField;
  /** Set on fields that hold text. */
  kind?: Kind | undefined;
  own?: boolean;
  /** Set on fields that hold messages. */
  inside?: Plan;
}
type Plan = readonly Step[];

const plans = new WeakMap<DescMethod, Plan>();
const shownPlans = new WeakMap<DescMessage, Plan>();

/**
 * Resources that a request names: the one that it is about, for which the method's own level is needed, and those
 * that it makes use of, on which an invoker's is enough. Names that are not given are left out.
 */
export function resourcesOf(method: DescMethod, request: Message): NamedResource[] {
  const { area, needed } = ruleOf(method);
  const plan = plans.get(method) ?? planOf(method.input, OWN[area], 0);
  plans.set(method, plan);
  const found: NamedResource[] = [];
  collect(plan, request, needed, found);
  return found;
}

/**
 * Resources that something which is shown names: it may be one itself.
 * @param own what its field `name` stands for, the same for all of this kind of message
 * @param only fields of its own that count; all where none are given
 */
export function resourcesIn(
  shape: DescMessage,
  message: Message,
  own?: Kind,
  only?: readonly string[],
): string[] {
  return namedIn(shape, message, Role.VIEWER, own, only).map(({ resource }) => resource);
}

/**
 * The same with what is needed on each by those who do something to it, such as cancel a job: as much as making it does.
 * @param level that doing it needs
 */
export function namedIn(
  shape: DescMessage,
  message: Message,
  level: Role,
  own?: Kind,
  only?: readonly string[],
): NamedResource[] {
  const plan = shownPlans.get(shape) ?? planOf(shape, own, 0);
  shownPlans.set(shape, plan);
  const found: NamedResource[] = [];
  const steps = only ? plan.filter(({ field }) => only.includes(field.name)) : plan;
  collect(steps, message, level, found);
  return found;
}

/** Whether a kind of message can name resources at all. */
export const namesResources = (shape: DescMessage, own?: Kind): boolean => planOf(shape, own, 0).length > 0;

/** Whether requests of a method can. */
export const requestNames = (method: DescMethod): boolean =>
  planOf(method.input, OWN[ruleOf(method).area], 0).length > 0;

function planOf(message: DescMessage, ownKind: Kind | undefined, depth: number, isPart = true): Plan {
  if (depth > DEEPEST) return [];
  const steps: Step[] = [];
  for (const field of message.fields) {
    const held = heldBy(field);
    if (held === 'text') {
      const own = field.name === 'name' && isPart ? ownKind : undefined;
      const kind = own ?? REFERENCES[field.name];
      if (kind || ONLY_REFERENCES.has(field.name))
        steps.push({ field, kind, own: own !== undefined || OWN_FIELDS.has(field.name) });
    } else if (held) {
      const inside = planOf(held, ownKind, depth + 1, depth === 0 && OWN_PARTS.has(field.name));
      if (inside.length > 0) steps.push({ field, inside });
    }
  }
  return steps;
}

function heldBy(field: DescField): 'text' | DescMessage | undefined {
  switch (field.fieldKind) {
    case 'scalar':
      return field.scalar === ScalarType.STRING ? 'text' : undefined;
    case 'message':
      return field.message;
    case 'list':
      if (field.listKind === 'message') return field.message;
      return field.listKind === 'scalar' && field.scalar === ScalarType.STRING ? 'text' : undefined;
    case 'map':
      return field.mapKind === 'message' ? field.message : undefined;
    default:
      return undefined;
  }
}

function collect(plan: Plan, message: Message, level: Role, found: NamedResource[]): void {
  for (const { field, kind, own, inside } of plan) {
    for (const value of valuesOf(field, message)) {
      if (inside) collect(inside, value as Message, level, found);
      else if (value !== '') {
        const resource = resourceNamed(value as string, kind);
        if (resource) found.push({ resource, needed: own ? level : useLevel(level) });
      }
    }
  }
}

/** To make use of something an invoker's right is enough, whatever is made of it. */
const useLevel = (level: Role): Role => (roleReaches(level, Role.INVOKER) ? Role.INVOKER : level);

/** What a method asks for on a resource: its own level, if it is about resources of this kind. */
export function neededOn({ area, needed }: MethodRule, resource: string): Role {
  return OWN[area] === resource.split('/', 1)[0] ? needed : useLevel(needed);
}

function valuesOf(field: DescField, message: Message): readonly unknown[] {
  const fields = message as unknown as Record<string, unknown>;
  const { oneof } = field;
  let value: unknown;
  if (oneof) {
    const chosen = fields[oneof.localName] as { case?: string; value?: unknown };
    value = chosen.case === field.localName ? chosen.value : undefined;
  } else value = fields[field.localName];
  if (value === undefined || value === null) return [];
  if (field.fieldKind === 'list') return value as unknown[];
  if (field.fieldKind === 'map') return Object.values(value);
  return [value];
}

/** The resource behind a name: `models:/NAME/VERSION` and `models:/NAME@alias` name a model wherever they stand. */
export function resourceNamed(text: string, kind: Kind | undefined): string | undefined {
  const model = /^models:\/([^/@]+)/.exec(text)?.[1];
  if (model) return `models/${model}`;
  return kind && /^[^/:@]+$/.test(text) ? `${kind}/${text}` : undefined;
}
