import type { Deployment } from '../db/entities.ts';
import type { ResolvedModel } from '../domain/resolve.ts';
import { deploymentNotFound } from '../errors.ts';
import { servedBy } from './roles.ts';

export const deploymentKey = ({ tenant, name }: Pick<Deployment, 'tenant' | 'name'>): string =>
  `${tenant}\n${name}`;

/** The deployments that run, as they were last written. */
export class DeploymentTable {
  readonly #rows = new Map<string, Deployment>();

  /**
   * Takes a deployment as it was written; an older state never overwrites a newer one.
   * @returns what was known of it before; undefined for nothing
   */
  apply(row: Deployment): { taken: boolean; before: Deployment | undefined } {
    const key = deploymentKey(row);
    const before = this.#rows.get(key);
    if (before && before.revision >= row.revision) return { taken: false, before };
    if (row.state === 'stopped') this.#rows.delete(key);
    else this.#rows.set(key, row);
    return { taken: true, before };
  }

  delete(key: string): void {
    this.#rows.delete(key);
  }

  get(key: string): Deployment | undefined {
    return this.#rows.get(key);
  }

  all(): Deployment[] {
    return [...this.#rows.values()];
  }

  ofTenant(tenant: string): Deployment[] {
    return this.all().filter((row) => row.tenant === tenant);
  }

  /** @throws LandfallError NOT_FOUND */
  find(tenant: string, name: string): Deployment {
    const row = this.peek(tenant, name);
    if (!row) throw deploymentNotFound(name);
    return row;
  }

  /** Undefined for none. */
  peek(tenant: string, name: string): Deployment | undefined {
    return this.#rows.get(deploymentKey({ tenant, name }));
  }

  /** Those that follow an alias, of a tenant or of all. */
  following(tenant?: string): Deployment[] {
    const rows = tenant === undefined ? this.all() : this.ofTenant(tenant);
    return rows.filter(({ alias }) => alias !== '');
  }

  /** Those of a tenant that serve a model, or a base's other models too. */
  serving(tenant: string, model: string): Deployment[] {
    return this.ofTenant(tenant).filter((row) =>
      servedBy(row).some((each) => each.model === model || each.base === model),
    );
  }

  /** The base that serves a model, where a deployment tells; undefined otherwise. */
  resolve(tenant: string, model: string): ResolvedModel | undefined {
    for (const row of this.serving(tenant, model)) {
      const { base } = servedBy(row).find((each) => each.model === model || each.base === model)!;
      return { model, base };
    }
    return undefined;
  }
}
