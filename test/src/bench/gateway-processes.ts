import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';

/** A gateway with everything on, what is behind it, and a bare forwarder to the same, each in a process of its own. */
export class GatewayProcesses implements AsyncDisposable {
  readonly url: string;
  readonly apiKey: string;
  readonly forwarderUrl: string;
  readonly upstream: string;
  readonly signer: IdentitySigner;
  /** Of the gateway and the forwarder. */
  readonly pids: { gateway: number; forwarder: number };
  readonly #running: AsyncDisposableStack;

  private constructor(
    parts: Omit<GatewayProcesses, typeof Symbol.asyncDispose>,
    running: AsyncDisposableStack,
  ) {
    this.url = parts.url;
    this.apiKey = parts.apiKey;
    this.forwarderUrl = parts.forwarderUrl;
    this.upstream = parts.upstream;
    this.signer = parts.signer;
    this.pids = parts.pids;
    this.#running = running;
  }

  /**
   * @param inspect arguments of Node for the gateway's process, for a profile
   * @param settings of the gateway's environment
   */
  static async start(inspect: string[] = [], settings: NodeJS.ProcessEnv = {}): Promise<GatewayProcesses> {
    await using starting = new AsyncDisposableStack();
    const folder = mkdtempSync(join(tmpdir(), 'landfall-bench-'));
    starting.defer(() => rmSync(folder, { recursive: true, force: true }));
    const keyFile = join(folder, 'mesh.key');
    writeFileSync(keyFile, 'a bench needs a key of thirty-two bytes at least', { mode: 0o600 });
    const signer = new IdentitySigner(readFileSync(keyFile));
    const run = (file: string, args: string[], env: NodeJS.ProcessEnv = {}, execArgv: string[] = []) => {
      const child = fork(file, args, {
        env: { ...process.env, ...env },
        execArgv,
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      });
      starting.defer(() => stop(child));
      return child;
    };
    const here = (name: string) => join(import.meta.dirname, name);
    const upstream = await portOf(run(here('gateway-upstream.ts'), [keyFile]));
    const address = `127.0.0.1:${upstream}`;
    const token = await signer.mint({ subject: 'service:bench', tenant: 'default', role: Role.ADMIN });
    const forwarding = run(here('gateway-forwarder.ts'), [String(upstream), token]);
    const forwarder = await portOf(forwarding);
    const firstKey = join(folder, 'first.key');
    const gateway = run(
      join(import.meta.dirname, '../../../gateway/src/main.ts'),
      [],
      {
        ...{ LANDFALL_HOME: folder, LANDFALL_LISTEN: '127.0.0.1:0', LANDFALL_MESH_KEY_FILE: keyFile },
        ...{
          LANDFALL_FIRST_KEY_FILE: firstKey,
          LANDFALL_LOG_LEVEL: 'error',
          LANDFALL_REQUESTS_PER_MINUTE: '100000000',
        },
        ...{ LANDFALL_REGISTRY_URL: address, LANDFALL_TRAINER_URL: address, LANDFALL_BALANCER_URL: address },
        ...{ LANDFALL_PROMPT_URL: address, ...settings },
      },
      inspect,
    );
    const [ready] = (await once(gateway, 'message')) as [{ address: string }];
    const parts = {
      ...{ url: `http://${ready.address}`, apiKey: readFileSync(firstKey, 'utf8').trim(), signer },
      ...{ forwarderUrl: `http://127.0.0.1:${forwarder}`, upstream: address },
      pids: { gateway: gateway.pid!, forwarder: forwarding.pid! },
    };
    return new GatewayProcesses(parts, starting.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.disposeAsync();
  }
}

/** Processor time that a process has used, in milliseconds; undefined where there is no /proc. */
export function processorMs(pid: number): number | undefined {
  if (!existsSync(`/proc/${pid}/stat`)) return undefined;
  // Behind the name in brackets: state, and from the twelfth on ticks of 10 ms in user and in system mode.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function portOf(child: ChildProcess): Promise<number> {
  const [message] = (await once(child, 'message')) as [{ port: number }];
  return message.port;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
}
