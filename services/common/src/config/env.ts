/** Raw values by name, as in process.env. */
export type Env = Readonly<Record<string, string | undefined>>;

/** A variable that can't be used, named. */
export class ConfigError extends Error {
  constructor(name: string, message: string) {
    super(`${name} ${message}`);
    this.name = 'ConfigError';
  }
}

export function stringVar(env: Env, name: string, fallback?: string): string {
  const value = env[name] || fallback;
  if (value === undefined) throw new ConfigError(name, 'is not set');
  return value;
}

/** A whole number within bounds. */
export function integerVar(env: Env, name: string, fallback: number, low: number, high: number): number {
  const raw = env[name];
  if (!raw) return fallback;
  const value = Number(raw);
  // Number alone takes '0x1f', '1e3' and blanks, which nobody means.
  if (!/^-?\d+$/.test(raw) || !Number.isSafeInteger(value) || value < low || value > high) {
    throw new ConfigError(name, `is ${raw}; give a whole number from ${low} to ${high}`);
  }
  return value;
}

export function booleanVar(env: Env, name: string, fallback: boolean): boolean {
  const raw = env[name];
  if (!raw) return fallback;
  if (raw === 'true' || raw === '1') return true;
  if (raw === 'false' || raw === '0') return false;
  throw new ConfigError(name, `is ${raw}; give true or false`);
}

/** `host:port`, port 0 for a free one. */
export function addressVar(env: Env, name: string, fallback?: string): { host: string; port: number } {
  const raw = stringVar(env, name, fallback);
  const at = raw.lastIndexOf(':');
  const digits = raw.slice(at + 1);
  const port = Number(digits);
  if (at < 1 || !/^\d{1,5}$/.test(digits) || port > 65535) {
    throw new ConfigError(name, `is ${raw}; give host:port`);
  }
  return { host: raw.slice(0, at), port };
}

/** One of a few words. */
export function choiceVar<T extends string>(env: Env, name: string, fallback: T, choices: readonly T[]): T {
  const raw = env[name] || fallback;
  if (!choices.includes(raw as T)) {
    throw new ConfigError(name, `is ${raw}; give one of ${choices.join(', ')}`);
  }
  return raw as T;
}

/** A URL of one of the schemes, or the fallback. What is wrong with it is said without it: it may hold a password. */
export function urlVar(env: Env, name: string, fallback: string, schemes: readonly string[]): string {
  const raw = env[name];
  if (!raw) return fallback;
  const scheme = URL.canParse(raw) ? new URL(raw).protocol.slice(0, -1) : '';
  if (!schemes.includes(scheme)) {
    throw new ConfigError(name, `is no URL that begins with ${schemes.map((s) => `${s}://`).join(' or ')}`);
  }
  return raw;
}
