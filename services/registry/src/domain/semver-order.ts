import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { parse, SemVer } from 'semver';

/**
 * A key whose order as a string is SemVer precedence (semver.org, item 11), so that a database can sort and page
 * versions with an index. Hexadecimal, so that no collation of PostgreSQL changes the order.
 *
 * major, minor, patch: two digits that tell the number's length, then its digits. Then 0xff for a release, or for
 * each pre-release identifier 0x01 and a number, or 0x02, text and 0x00; and 0x00 at the end, since fewer
 * identifiers come first.
 */
export function precedenceKey(version: string): string {
  const parsed = parse(version);
  if (!parsed) throw invalidArgument('version', `'${version.slice(0, 80)}' is not a semantic version`);
  const core = [parsed.major, parsed.minor, parsed.patch].map(numberKey).join('');
  if (parsed.prerelease.length === 0) return hex(`${core}\xff`);
  // The package leaves numbers beyond 2^53 as text; by SemVer they are numbers all the same.
  const identifiers = parsed.prerelease.map((identifier) =>
    /^\d+$/.test(String(identifier)) ? `\x01${numberKey(identifier)}` : `\x02${identifier}\x00`,
  );
  return hex(`${core}${identifiers.join('')}\x00`);
}

/** The next minor release after the newest version; 1.0.0 where there is none. */
export function nextVersion(newest: string | undefined): string {
  if (newest === undefined) return '1.0.0';
  const { major, minor } = new SemVer(newest);
  return `${major}.${minor + 1}.0`;
}

function numberKey(value: number | string): string {
  const digits = String(value);
  return String(digits.length).padStart(2, '0') + digits;
}

function hex(text: string): string {
  return Buffer.from(text, 'latin1').toString('hex');
}
