import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Where distributions put it; not on the PATH of an ordinary user. */
const USUAL_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/usr/bin', '/opt/homebrew/bin'];

/** The nats-server program on the PATH or in the usual folders, or undefined. */
export function findNatsServer(): string | undefined {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...USUAL_FOLDERS]) {
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

/** Whether a broker knows JetStream's `sync_interval` (2.10 and newer; Debian 12 ships 2.9). */
function supportsSyncInterval(command: string): boolean {
  const version = spawnSync(command, ['--version'], { encoding: 'utf8' }).stdout ?? '';
  const [, major = '0', minor = '0'] = /v(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 10);
}

/**
 * Writes a broker's configuration: loopback only, JetStream under `folder`, and synced before an acknowledgement
 * leaves where the broker can, so that what was acknowledged survives a power failure.
 * @returns command and arguments
 */
export function natsServerCommand(folder: string, port: number): { command: string; args: string[] } {
  const command = findNatsServer();
  if (!command)
    throw new Error('nats-server was not found; on Debian or Ubuntu: sudo apt-get install nats-server');
  mkdirSync(folder, { recursive: true });
  const sync = supportsSyncInterval(command) ? ', sync_interval: always' : '';
  const lines = [
    `listen: "127.0.0.1:${port}"`,
    'server_name: landfall',
    'max_payload: 1MB',
    `jetstream { store_dir: ${JSON.stringify(folder)}, max_mem: 64MB, max_file: 4GB${sync} }`,
  ];
  const file = join(folder, 'nats.conf');
  writeFileSync(file, `${lines.join('\n')}\n`);
  return { command, args: ['-c', file] };
}

/** Whether a broker greets on a loopback port. */
export function natsAnswers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('data', (data) => end(data.toString('latin1').startsWith('INFO ')));
    socket.once('error', () => end(false));
    socket.setTimeout(1000, () => end(false));
  });
}

/** A broker of one's own, for tests. */
export interface NatsServer extends AsyncDisposable {
  url: string;
  port: number;
  pid: number;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
}

/** Starts nats-server with JetStream on a free loopback port (or the given one) and waits until it answers. */
export async function startNatsServer(options: { folder: string; port?: number }): Promise<NatsServer> {
  const port = options.port ?? (await freePort());
  const { command, args } = natsServerCommand(options.folder, port);
  const child: ChildProcess = spawn(command, args, { stdio: 'ignore' });
  const failed = once(child, 'exit').then(() => {
    throw new Error(`nats-server ended on start; try: ${command} ${args.join(' ')}`);
  });
  failed.catch(() => {});
  const ready = (async () => {
    while (!(await natsAnswers(port))) await delay(20);
  })();
  await Promise.race([ready, failed]);
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  };
  return {
    port,
    url: `nats://127.0.0.1:${port}`,
    pid: child.pid!,
    kill: () => end('SIGKILL'),
    [Symbol.asyncDispose]: () => end('SIGTERM'),
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
