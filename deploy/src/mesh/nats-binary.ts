import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { findNatsServer } from '@landfall/common/events/nats-server.ts';

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
