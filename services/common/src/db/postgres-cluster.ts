import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, chownSync, constants, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';

export interface PostgresCluster extends AsyncDisposable {
  url: string;
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The folder with both initdb and postgres, or undefined. */
function serverFolder(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter);
  try {
    const versions = readdirSync('/usr/lib/postgresql').sort((a, b) => Number(b) - Number(a));
    folders.push(...versions.map((version) => `/usr/lib/postgresql/${version}/bin`));
  } catch {
    // Not a Debian-like layout.
  }
  return folders.find((folder) => ['initdb', 'postgres'].every((name) => executable(join(folder, name))));
}

/** PostgreSQL refuses to run as root: then it runs as the account of the installed package, or nobody. */
function serverAccount(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string) =>
        Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: 'pipe' }));
      return { uid: id('-u'), gid: id('-g') };
    } catch {
      // No such account.
    }
  }
  return undefined;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * Starts a PostgreSQL cluster of its own in a temporary folder, on a free loopback port.
 * @returns undefined where no server binaries are installed
 */
export async function startPostgresCluster(): Promise<PostgresCluster | undefined> {
  const bin = serverFolder();
  if (!bin) return undefined;
  const account = serverAccount();
  const folder = mkdtempSync(join(tmpdir(), 'landfall-pg-'));
  if (account) chownSync(folder, account.uid, account.gid);
  const data = join(folder, 'data');
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
  const common = { ...account, env, cwd: folder };
  const password = 'landfall';
  writeFileSync(join(folder, 'password'), password);
  if (account) chownSync(join(folder, 'password'), account.uid, account.gid);
  execFileSync(
    join(bin, 'initdb'),
    [
      '-D',
      data,
      '-U',
      'landfall',
      '-A',
      'scram-sha-256',
      `--pwfile=${join(folder, 'password')}`,
      '-E',
      'UTF8',
      '--no-sync',
    ],
    { ...common, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const port = await freePort();
  const settings = [
    'listen_addresses=127.0.0.1',
    `port=${port}`,
    `unix_socket_directories=${folder}`,
    // The cluster is thrown away after the tests: its safety on power failure costs time for nothing.
    'fsync=off',
    'max_connections=200',
  ];
  const child: ChildProcess = spawn(
    join(bin, 'postgres'),
    ['-D', data, ...settings.flatMap((s) => ['-c', s])],
    {
      ...common,
      stdio: 'ignore',
    },
  );
  const url = `postgres://landfall:${password}@127.0.0.1:${port}/postgres`;
  for (let tries = 0; ; tries++) {
    const client = new Client({ connectionString: url });
    try {
      await client.connect();
      await client.end();
      break;
    } catch (error) {
      if (tries > 200 || child.exitCode !== null) throw error;
      await delay(50);
    }
  }
  return {
    url,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, 'exit');
        child.kill('SIGINT');
        await gone;
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
