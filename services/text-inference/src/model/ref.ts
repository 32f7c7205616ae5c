/** How people name a model: `models:/name/version` or `models:/name@alias`. */
export interface ModelRef {
  name: string;
  /** SemVer, or `@alias`. */
  version: string;
}

export class InvalidRefError extends Error {
  override name = 'InvalidRefError';
}

const NAME = /^[a-z0-9]+([._-][a-z0-9]+)*$/;
const VERSION = /^[0-9A-Za-z.+-]{1,64}$/;
const ALIAS = /^[a-z][a-z0-9_-]{0,63}$/;

/** Reads `models:/name/version`, `models:/name@alias`, or either without `models:/`. @throws InvalidRefError */
export function parseModelRef(text: string): ModelRef {
  const rest = text.startsWith('models:/') ? text.slice('models:/'.length) : text;
  const split = /^([^/@]+)([/@])(.+)$/.exec(rest);
  const [, name = '', separator = '', version = ''] = split ?? [];
  const valid = separator === '@' ? ALIAS.test(version) : VERSION.test(version);
  if (!split || name.length > 64 || !NAME.test(name) || !valid) {
    throw new InvalidRefError('give models:/name/version or models:/name@alias');
  }
  return { name, version: separator === '@' ? `@${version}` : version };
}

/** `models:/name/version` or `models:/name@alias`. */
export function formatModelRef({ name, version }: ModelRef): string {
  return version.startsWith('@') ? `models:/${name}${version}` : `models:/${name}/${version}`;
}
