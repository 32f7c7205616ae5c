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
  if (!Number.isInteger(value) || value < low || value > high) {
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
  const port = Number(raw.slice(at + 1));
  if (at < 1 || !Number.isInteger(port) || port < 0 || port > 65535) {
    throw new ConfigError(name, `is ${raw}; give host:port`);
  }
  return { host: raw.slice(0, at), port };
}
