import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { fakeRunnerModule, meshKey, TestFolder, TestReplica, testConfig, until } from './harness.ts';
import { writeTokenizer } from './tiny-model.ts';

test('the work of a client that is killed stops within 200 ms', async () => {
  using folder = new TestFolder();
  writeTokenizer(folder.join('base'));
  writeFileSync(folder.join('mesh.key'), meshKey, { mode: 0o600 });
  const more = { modelFolder: folder.join('base'), runnerModule: fakeRunnerModule };
  await using replica = await TestReplica.start(testConfig(folder.join('home'), more));

  const script = path.join(import.meta.dirname, 'client-process.ts');
  const client = spawn(process.execPath, [script, replica.address, folder.join('mesh.key')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(client, 'exit');
  await once(client.stdout, 'data');
  expect((await replica.client.getLoad({})).load?.running).toBe(1);
  const killedAt = performance.now();
  client.kill('SIGKILL');
  await until(async () => (await replica.client.getLoad({})).load!.running === 0);
  const stoppedMs = performance.now() - killedAt;
  console.log(`client killed: its work stopped after ${stoppedMs.toFixed(0)} ms (steps of 10 ms)`);
  const { load } = await replica.client.getLoad({});
  expect(load).toMatchObject({ queued: 0, freeBlocks: load!.totalBlocks });
  expect(Number(load!.outputTokens)).toBeLessThan(120);
  await exit;
});
