import { readFileSync } from 'node:fs';
import { ConfigError, type Env } from '@landfall/common/config/env.ts';

/** An OpenID provider whose tokens are taken, and what their claims mean here. */
export interface OidcProvider {
  issuer: string;
  /** One of them must be in the token. */
  audience: string[];
  /** Signatures that are taken, asymmetric ones alone. */
  algorithms: string[];
  /** Tenant of all its users; or else the claim that names it, and the tenants that it may name. */
  tenant?: string;
  tenantClaim?: string;
  tenants: string[];
  /** Claim that becomes `user:NAME`. */
  subjectClaim: string;
  groupsClaim?: string;
  rolesClaim?: string;
  /** Roles here by the provider's name of them; others count for nothing. */
  roles: Readonly<Record<string, readonly string[]>>;
  /** Roles that everybody has who comes with a token. */
  defaultRoles: string[];
  /** Shortest time between two looks at its keys for one that is not known, in milliseconds. */
  refreshMs: number;
}

const VARIABLE = 'LANDFALL_OIDC_FILE';
/** A shared secret would let everybody who checks tokens make them; `none` everybody. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const FIELDS = [
  ...['issuer', 'audience', 'algorithms', 'tenant', 'tenant_claim', 'tenants', 'subject_claim'],
  ...['groups_claim', 'roles_claim', 'roles', 'default_roles', 'refresh_ms'],
];

/**
 * The file that LANDFALL_OIDC_FILE names: `{"providers": [...]}`; none where it is not set.
 * @throws ConfigError that names what is wrong, and in which provider
 */
export function readOidcProviders(env: Env): OidcProvider[] {
  const file = env[VARIABLE];
  if (!file) return [];
  let read: unknown;
  try {
    read = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? 'it is no JSON';
    throw new ConfigError(VARIABLE, `names a file that cannot be read (${why})`);
  }
  const { providers } = (read ?? {}) as { providers?: unknown };
  if (!Array.isArray(providers)) throw new ConfigError(VARIABLE, 'names a file without a list `providers`');
  const found = providers.map((each, index) => provider(each, `providers[${index}]`));
  if (new Set(found.map(({ issuer }) => issuer)).size < found.length) {
    throw new ConfigError(VARIABLE, 'names an issuer twice');
  }
  return found;
}

function provider(value: unknown, at: string): OidcProvider {
  const wrong = (field: string, what: string) => new ConfigError(VARIABLE, `${at}.${field} ${what}`);
  if (typeof value !== 'object' || value === null) throw new ConfigError(VARIABLE, `${at} is no object`);
  const given = value as Record<string, unknown>;
  const unknown = Object.keys(given).find((key) => !FIELDS.includes(key));
  if (unknown) throw wrong(unknown, `is no field; there are ${FIELDS.join(', ')}`);
  const text = (field: string): string | undefined => {
    const found = given[field];
    if (found !== undefined && (typeof found !== 'string' || found === '')) throw wrong(field, 'is no text');
    return found as string | undefined;
  };
  const texts = (field: string, fallback?: string[]): string[] => {
    const found = given[field] ?? fallback;
    const isList = Array.isArray(found) && found.every((each) => typeof each === 'string');
    if (!isList) throw wrong(field, 'is no list of texts');
    return found as string[];
  };
  const issuer = text('issuer') ?? '';
  if (!isTrusted(issuer)) throw wrong('issuer', 'is no https:// address (http:// only on loopback)');
  const audience = texts('audience');
  if (audience.length === 0) throw wrong('audience', 'is empty: a token for anybody would be taken');
  const algorithms = texts('algorithms', ['RS256', 'PS256', 'ES256', 'EdDSA']);
  const odd = algorithms.find((each) => !ALGORITHMS.includes(each));
  if (odd || algorithms.length === 0) throw wrong('algorithms', `is of ${ALGORITHMS.join(', ')}`);
  const [tenant, tenantClaim] = [text('tenant'), text('tenant_claim')];
  const tenants = texts('tenants', []);
  if ((tenant === undefined) === (tenantClaim === undefined)) {
    throw wrong('tenant', 'or tenant_claim is given, and not both');
  }
  if (tenantClaim !== undefined && tenants.length === 0) {
    throw wrong('tenants', 'is empty: the tenants that the claim may name');
  }
  const refreshMs = given.refresh_ms ?? 30_000;
  if (typeof refreshMs !== 'number' || !(refreshMs >= 0 && refreshMs <= 3_600_000)) {
    throw wrong('refresh_ms', 'is a number from 0 to 3600000');
  }
  return {
    ...{ issuer, audience, algorithms, tenants, refreshMs },
    ...(tenant === undefined ? {} : { tenant }),
    ...(tenantClaim === undefined ? {} : { tenantClaim }),
    subjectClaim: text('subject_claim') ?? 'sub',
    ...optional('groupsClaim', text('groups_claim')),
    ...optional('rolesClaim', text('roles_claim')),
    roles: rolesOf(given.roles ?? {}, () => wrong('roles', 'is no object of lists of roles by name')),
    defaultRoles: texts('default_roles', []),
  };
}

const optional = (name: string, value: string | undefined) => (value === undefined ? {} : { [name]: value });

function rolesOf(value: unknown, wrong: () => ConfigError): Record<string, string[]> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong();
  const lists = Object.values(value);
  if (!lists.every((list) => Array.isArray(list) && list.every((each) => typeof each === 'string'))) {
    throw wrong();
  }
  return value as Record<string, string[]>;
}

/** Whether an address may be asked for keys: by TLS, or on this machine. */
export function isTrusted(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, hostname } = new URL(address);
  return (
    protocol === 'https:' || (protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(hostname))
  );
}
