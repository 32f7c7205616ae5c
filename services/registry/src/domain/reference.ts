import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { valid } from 'semver';

/** A model reference taken apart: exactly one of version and alias is set. */
export type ModelReference = { name: string; version?: string; alias?: string };

const NAME = /^[a-z0-9]+([._-][a-z0-9]+)*$/;
const ALIAS = /^[a-z][a-z0-9_-]{0,63}$/;

/** `models:/name/version`. */
export function formatReference(name: string, version: string): string {
  return `models:/${name}/${version}`;
}

/** Reads `models:/name/version` or `models:/name@alias`; throws INVALID_ARGUMENT for anything else. */
export function parseReference(ref: string, field: string): ModelReference {
  const match = /^models:\/([^/@]{1,64})(?:\/([^/@]{1,64})|@([^/@]{1,64}))$/.exec(ref);
  const [, name, version, alias] = match ?? [];
  const known =
    name !== undefined &&
    NAME.test(name) &&
    (version === undefined ? ALIAS.test(alias!) : valid(version) === version);
  if (!known) {
    throw invalidArgument(
      field,
      `${JSON.stringify(ref.slice(0, 80))} is not a reference; write models:/name/1.0.0 or models:/name@alias`,
    );
  }
  return version === undefined ? { name, alias: alias! } : { name, version };
}

/** Reads the `version` field of a request: '' (newest), '@alias' or SemVer. */
export function parseVersionSelector(
  selector: string,
): { newest: true } | { alias: string } | { version: string } {
  if (selector === '') return { newest: true };
  if (selector.startsWith('@')) {
    const alias = selector.slice(1);
    if (!ALIAS.test(alias))
      throw invalidArgument('version', `'${selector}' is not an alias; write @production`);
    return { alias };
  }
  return { version: checkVersion(selector) };
}

/** Checks a plain SemVer such as 1.0.0 or 2.0.0-rc.1, without a leading v or build metadata. */
export function checkVersion(version: string, field = 'version'): string {
  if (version.length > 64 || valid(version) !== version) {
    throw invalidArgument(field, `'${version.slice(0, 80)}' is not a semantic version; write 1.0.0`);
  }
  return version;
}
