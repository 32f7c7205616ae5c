/** A small service, run by lifecycle.test.ts; MODE says how it behaves. */
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { runService, type Service } from '../../src/lifecycle/run-service.ts';

const mode = process.env.MODE ?? '';
function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

class Small implements Service {
  readonly #running = new AsyncDisposableStack();

  async start() {
    if (mode === 'fails-late') this.#running.defer(() => say('first undone'));
    if (mode.startsWith('fails')) throw new Error('no room');
    if (mode === 'hangs') {
      say('starting');
      await delay(600_000);
    }
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#running.defer(async () => {
      say('server closed');
      if (mode !== 'leaks') await new Promise((resolve) => server.close(resolve));
    });
    this.#running.defer(() => say('last opened, first closed'));
    if (mode === 'rejects') void Promise.reject(new Error('nobody waits'));
    if (mode === 'stuck') this.#running.defer(() => delay(600_000));
    return { address: '127.0.0.1:1', metrics: '' };
  }

  async [Symbol.asyncDispose]() {
    await this.#running.disposeAsync();
  }
}

await runService('small', async () => new Small());
say('main has ended');
