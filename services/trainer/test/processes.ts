import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { programEnv } from '@landfall/common/test/program-env.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');

/** A service as a process of its own. */
export interface ServiceProcess extends AsyncDisposable {
  pid: number;
  /** `host:port` of its gRPC server. */
  address: string;
  /** kill -9. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
}

/**
 * Starts `services/<main>` and waits for its ready line.
 *
 * @param main such as `registry/src/main.ts`
 */
export async function startService(main: string, env: Record<string, string>): Promise<ServiceProcess> {
  const child: ChildProcess = spawn(process.execPath, [path.join(ROOT, 'services', main)], {
    env: { ...programEnv(), LANDFALL_LOG_LEVEL: 'error', LANDFALL_METRICS_PORT: '-1', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gone = once(child, 'exit');
  const lines = createInterface({ input: child.stdout! });
  const [line] = (await Promise.race([
    once(lines, 'line'),
    gone.then(([code]) => {
      throw new Error(`${main} ended with ${code} before it was ready`);
    }),
  ])) as [string];
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await gone;
    }
    return child.exitCode;
  };
  return {
    pid: child.pid!,
    address: (JSON.parse(line) as { address: string }).address,
    kill: async () => void (await end('SIGKILL')),
    stop: () => end('SIGTERM'),
    [Symbol.asyncDispose]: async () => void (await end('SIGKILL')),
  };
}
