import type { EntityJson } from '@cedar-policy/cedar-wasm/nodejs';
import { ruleOf } from '@landfall/common/identity/rule.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { publicMethods } from '../edge/services.ts';

/** Levels of an area, each with all before it. */
export const LEVELS = [
  [Role.VIEWER, 'viewer'],
  [Role.INVOKER, 'invoker'],
  [Role.EDITOR, 'editor'],
  [Role.ADMIN, 'admin'],
] as const;

export const levelName = (role: Role): string =>
  LEVELS.find(([level]) => level === role)?.[1] ?? Role[role]?.toLowerCase() ?? 'none';

const rules = [...publicMethods.values()].map(ruleOf);

/** Parts of the mesh that have public methods. */
export const AREAS: readonly string[] = [...new Set(rules.map(({ area }) => area))].sort();

const action = (id: string) => ({ type: 'Action', id });

/** Action of a level; `any/LEVEL` holds it for every area. */
function levelActions(area: string): EntityJson[] {
  return LEVELS.map(([, name], index) => {
    const above = LEVELS[index + 1];
    const parents = [
      ...(above ? [action(`${area}/${above[1]}`)] : []),
      ...(area === 'any' ? [] : [action(`any/${name}`)]),
    ];
    return { uid: action(`${area}/${name}`), attrs: {}, parents };
  });
}

/** Every action that policies can name, under the levels that hold it. */
export const ACTIONS: readonly EntityJson[] = [
  ...levelActions('any'),
  ...AREAS.flatMap(levelActions),
  ...rules.map(({ name, area, needed }) => ({
    uid: action(name),
    attrs: {},
    parents: [action(`${area}/${levelName(needed)}`)],
  })),
];

const byId = new Map(ACTIONS.map((entity) => [(entity.uid as { id: string }).id, entity]));

/** An action and all that it is part of: what one decision needs to know. */
export function lineageOf(id: string): EntityJson[] {
  const found = new Map<string, EntityJson>();
  const add = (each: string) => {
    const entity = byId.get(each);
    if (!entity || found.has(each)) return;
    found.set(each, entity);
    for (const parent of entity.parents) add((parent as { id: string }).id);
  };
  add(id);
  return [...found.values()];
}
