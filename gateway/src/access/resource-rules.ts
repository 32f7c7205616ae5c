import type { Identity, ResourceRight } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';

export interface Grant {
  resource: string;
  grantee: string;
  level: Role;
}

/** What is said of one resource. */
export interface Said {
  restricted: boolean;
  grants: readonly Grant[];
}

const NOTHING: Said = { restricted: false, grants: [] };

/** Whom grants can name to reach a caller. */
export const granteesOf = ({ subject, groups = [] }: Pick<Identity, 'subject' | 'groups'>): string[] => [
  subject,
  ...groups.map((group) => `group:${group}`),
  'everyone',
];

/** What is said of single resources of a tenant. */
export class ResourceRules {
  readonly #said = new Map<string, { restricted: boolean; grants: Grant[] }>();

  constructor(grants: readonly Grant[], restricted: readonly string[]) {
    for (const grant of grants) this.#at(grant.resource).grants.push(grant);
    for (const resource of restricted) this.#at(resource).restricted = true;
  }

  of(resource: string): Said {
    return this.#said.get(resource) ?? NOTHING;
  }

  /** Whether anything is said of it. */
  has(resource: string): boolean {
    return this.#said.has(resource);
  }

  /**
   * What a caller's identity is to say, for services to hold them to it.
   * @param most that grants give a caller whose key allows no more
   */
  rightsOf(caller: Pick<Identity, 'subject' | 'groups'>, most: Role): ResourceRight[] {
    const grantees = new Set(granteesOf(caller));
    const rights: ResourceRight[] = [];
    for (const [resource, { restricted, grants }] of this.#said) {
      const reached = grants.filter(({ grantee }) => grantees.has(grantee)).map(({ level }) => level);
      const level: Role = Math.min(most, Math.max(Role.UNSPECIFIED, ...reached));
      if (restricted || level !== Role.UNSPECIFIED) rights.push({ resource, level, restricted });
    }
    return rights;
  }

  #at(resource: string) {
    const known = this.#said.get(resource) ?? { restricted: false, grants: [] };
    this.#said.set(resource, known);
    return known;
  }
}
