import type { MethodRule } from '@landfall/common/identity/rule.ts';

/** Scopes that name methods; the rest name resources. */
const ofMethods = (scopes: readonly string[]) => scopes.filter((scope) => scope.startsWith('landfall.'));

/** Whether a pattern (`landfall.prompt.v1.*`, `landfall.prompt.v1.PromptService/*`) or a name holds another. */
const holds = (scope: string, name: string): boolean =>
  scope === name || (scope.endsWith('*') && name.startsWith(scope.slice(0, -1)));

/** Whether scopes are for a method; where none names a method, they are for all. */
export function scopesHold(scopes: readonly string[], { name }: MethodRule): boolean {
  const methods = ofMethods(scopes);
  return methods.length === 0 || methods.some((scope) => holds(scope, name));
}

/** Kind of what a scope names: methods, or `models/`, `deployments/`, `collections/`. */
const kindOf = (scope: string): string =>
  scope.startsWith('landfall.') ? 'methods' : scope.split('/', 1)[0]!;

/** Whether scopes leave nothing open that `own` closes. */
export function scopesAreWithin(scopes: readonly string[], own: readonly string[]): boolean {
  const kinds = new Set(own.map(kindOf));
  return [...kinds].every((kind) => {
    const asked = scopes.filter((scope) => kindOf(scope) === kind);
    return asked.length > 0 && asked.every((scope) => own.some((each) => holds(each, scope)));
  });
}
