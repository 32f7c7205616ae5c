import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where Debian and Ubuntu put it; not on the PATH of an ordinary user. */
const USUAL_FOLDERS = ['/usr/sbin', '/usr/local/bin', '/usr/local/sbin', '/usr/bin', '/opt/homebrew/bin'];

/** The nats-server program on the PATH or in the usual folders, or undefined. */
export function findNatsServer(path = process.env.PATH ?? ''): string | undefined {
  for (const folder of [...path.split(delimiter), ...USUAL_FOLDERS]) {
    const file = join(folder, 'nats-server');
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not here; the next folder may have it.
    }
  }
  return undefined;
}

function isDebianLike(): boolean {
  if (!existsSync('/etc/os-release') || !existsSync('/usr/bin/apt-get')) return false;
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(readFileSync('/etc/os-release', 'utf8'));
}

/**
 * Finds nats-server, or installs it from the distribution's packages where that needs no question (Debian or
 * Ubuntu, as root or with a sudo that asks no password), and says so on standard error.
 * @throws Error that says what to install, where it can't be had this way.
 */
export function ensureNatsServer(): string {
  const found = findNatsServer();
  if (found) return found;
  const advice =
    'nats-server was not found on the PATH. Install it: `sudo apt-get install nats-server` on Debian or Ubuntu, ' +
    '`brew install nats-server` on macOS, or a release of nats-io/nats-server elsewhere.';
  if (!isDebianLike()) throw new Error(advice);
  const root = process.getuid?.() === 0;
  const sudo = !root && spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0;
  if (!root && !sudo) throw new Error(advice);
  process.stderr.write('nats-server is not installed: installing the distribution package nats-server\n');
  const apt = (...args: string[]) =>
    spawnSync(root ? 'apt-get' : 'sudo', root ? args : ['-n', 'apt-get', ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    }).status === 0;
  // The lists may be absent on a fresh machine, so the first try may fail for want of them.
  const installed =
    apt('install', '-y', '--no-install-recommends', 'nats-server') ||
    (apt('update') && apt('install', '-y', '--no-install-recommends', 'nats-server'));
  const file = installed ? findNatsServer() : undefined;
  if (!file) throw new Error(`apt-get could not install nats-server. ${advice}`);
  return file;
}

/** Whether a broker knows JetStream's `sync_interval` (2.10 and newer; Debian 12 ships 2.9). */
export function supportsSyncInterval(command: string): boolean {
  const version = spawnSync(command, ['--version'], { encoding: 'utf8' }).stdout ?? '';
  const [, major = '0', minor = '0'] = /v(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 10);
}
