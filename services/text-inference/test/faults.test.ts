import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { status } from '@grpc/grpc-js';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { programEnv } from '@landfall/common/test/program-env.ts';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { expect, test } from 'vitest';
import {
  fakeRunnerModule,
  meshKey,
  signer,
  TestFolder,
  TestReplica,
  testConfig,
  until,
  user,
} from './harness.ts';
import { writeTinyModel, writeTokenizer } from './tiny-model.ts';

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

/** A replica as the balancer starts it: a process with its environment, on a free port, its broker out of reach. */
async function startProcess(
  folder: TestFolder,
): Promise<{ child: ChildProcess; channel: RpcChannel; log: () => string }> {
  writeTinyModel(folder.join('base'));
  writeFileSync(folder.join('mesh.key'), meshKey, { mode: 0o600 });
  const child = spawn(process.execPath, [path.join(import.meta.dirname, '../src/main.ts')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...programEnv(),
      LANDFALL_HOME: folder.join('home'),
      LANDFALL_MODEL_FOLDER: folder.join('base'),
      LANDFALL_MESH_KEY_FILE: folder.join('mesh.key'),
      LANDFALL_LISTEN: '127.0.0.1:0',
      LANDFALL_NATS_URL: 'nats://127.0.0.1:1',
      LANDFALL_TEXT_THREADS: '1',
      LANDFALL_GRACE_MS: '20000',
    },
  });
  let log = '';
  child.stderr!.on('data', (data) => {
    log += data;
  });
  const [line] = await once(createInterface(child.stdout!), 'line');
  const { address } = JSON.parse(line);
  return { child, channel: new RpcChannel(address, { signer, identity: user }), log: () => log };
}

/** Streams without an end of their own for the test's purposes. */
function openStreams(channel: RpcChannel, count: number) {
  const client = channel.client(TextInferenceService);
  const seen = { started: 0 };
  const streams = Array.from({ length: count }, async () => {
    let tokens = 0;
    for await (const reply of client.generate({
      prompt: 'a',
      sampling: { maxTokens: 100, ignoreEos: true },
    })) {
      if (reply.model) seen.started++;
      tokens = reply.usage?.outputTokens ?? tokens;
    }
    return tokens;
  });
  return { streams, seen };
}

test('SIGTERM under load: no call in flight fails, and the process ends by itself', async () => {
  using folder = new TestFolder();
  const { child, channel, log } = await startProcess(folder);
  const exit = once(child, 'exit');
  const { streams, seen } = openStreams(channel, 12);
  await until(() => seen.started === 12);
  child.kill('SIGTERM');
  expect(await Promise.all(streams)).toEqual(new Array(12).fill(100));
  expect(await exit, log()).toEqual([0, null]);
  channel.close();
});

test('kill -9: callers are told UNAVAILABLE, and the next start serves again', async () => {
  using folder = new TestFolder();
  const { child, channel } = await startProcess(folder);
  const exit = once(child, 'exit');
  const { streams, seen } = openStreams(channel, 4);
  await until(() => seen.started === 4);
  child.kill('SIGKILL');
  for (const result of await Promise.allSettled(streams)) {
    if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: status.UNAVAILABLE });
  }
  await exit;
  channel.close();
  const again = await startProcess(folder);
  const end = once(again.child, 'exit');
  expect(await Promise.all(openStreams(again.channel, 1).streams)).toEqual([100]);
  again.child.kill('SIGTERM');
  expect(await end).toEqual([0, null]);
  again.channel.close();
});
