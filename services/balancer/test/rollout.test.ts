import { status } from '@grpc/grpc-js';
import { DeploymentState, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Quantization } from '@landfall/proto/landfall/balancer/v1/rollout_pb.js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  ADAPTER,
  ADAPTER_2,
  BASE,
  isAlive,
  keepCalling,
  OTHER_BASE,
  type TestBalancer,
  TestMesh,
  until,
} from './mesh.ts';

// Processes are started and waited for; on a busy machine each takes seconds.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

let mesh: TestMesh | undefined;
let balancer: TestBalancer;

beforeAll(async () => {
  mesh = await TestMesh.start();
  if (mesh) balancer = await mesh.balancer({ LANDFALL_BALANCER_ALIAS_MS: '300' });
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const get = async (name: string) => (await balancer.client.getDeployment({ name })).deployment!;
const serving = (name: string, model: string) =>
  until(async () => {
    const now = await get(name);
    return now.state === DeploymentState.READY && now.model === model && now.nextModel === '' && now;
  });

test('replicas of another base come one at a time, get their share of the calls, and no call fails', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const strategy = { maxSurge: 1, maxUnavailable: 0 };
  await client.deploy({ name: 'rolled', model: BASE, replicas: 3, strategy, waitReady: true });
  const calls = keepCalling(mesh.balanced(balancer.address), 'rolled');
  await client.updateDeployment({ name: 'rolled', model: OTHER_BASE });
  let most = 0;
  let shares = 0;
  for await (const list of client.watchEndpoints({ deployment: 'rolled' })) {
    const running = [...list.endpoints, ...(list.canary?.endpoints ?? [])].filter(
      ({ state }) => state !== EndpointState.DRAINING,
    );
    if (list.model === BASE) most = Math.max(most, running.length);
    if (list.canary) {
      shares++;
      expect(list.canary.model).toBe(OTHER_BASE);
      expect(list.canary.weightPercent).toBeGreaterThan(0);
    }
    if (list.model === OTHER_BASE) break;
  }
  await serving('rolled', OTHER_BASE);
  // Callers hear of it a moment later.
  await until(() => calls.models.slice(-30).every((model) => model === OTHER_BASE));
  await calls.stop();
  console.log(
    `3 replicas replaced one at a time: ${calls.models.length} calls, ${calls.failures.length} failed`,
  );
  expect(calls.failures).toEqual([]);
  expect(shares).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(4);
  expect(new Set(calls.models)).toEqual(new Set([BASE, OTHER_BASE]));
  await client.stopDeployment({ name: 'rolled' });
});

test('a rollout is held and goes on; other settings are other replicas, and undo brings the old ones back', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const first = await client.deploy({ name: 'held', model: BASE, waitReady: true });
  const [old] = first.deployment!.endpoints;
  await client.pauseDeployment({ name: 'held' });
  const settings = { quantization: Quantization.INT8, maxBatch: 3, resources: { threads: 1 } };
  const update = await client.updateDeployment({ name: 'held', settings });
  expect(update.deployment).toMatchObject({ generation: 2n, nextModel: BASE, paused: true });
  const held = await until(async () => {
    const now = await get('held');
    return now.message.includes('ResumeDeployment') && now;
  });
  expect(held.endpoints.map(({ id }) => id)).toEqual([old!.id]);
  await client.resumeDeployment({ name: 'held' });
  const quantized = await serving('held', BASE);
  expect(quantized.settings).toMatchObject({ quantization: Quantization.INT8, maxBatch: 3 });
  const [replica] = quantized.endpoints;
  expect(replica!.id).not.toBe(old!.id);
  expect(mesh.log(replica!.id)).toContain('{"quantization":"int8","maxBatch":"3","threads":"1"}');
  expect(mesh.log(old!.id)).toContain('"quantization":"","maxBatch":""');
  await until(() => !isAlive(old!.pid));

  const undone = await client.undoDeployment({ name: 'held', requestId: 'undo-1' });
  expect(undone.deployment!.generation).toBe(3n);
  expect((await client.undoDeployment({ name: 'held', requestId: 'undo-1' })).deployment!.generation).toBe(
    3n,
  );
  const back = await serving('held', BASE);
  expect(back.settings!.quantization).toBe(Quantization.UNSPECIFIED);
  const { history } = await client.getDeployment({ name: 'held' });
  expect(history.map(({ generation, reason }) => `${generation} ${reason}`)).toEqual([
    '3 undone to 1',
    '2 updated',
    '1 deployed',
  ]);
  await expect(client.undoDeployment({ name: 'held', generation: 9n })).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
    reason: 'NOTHING_TO_UNDO',
  });
  // A rollout that is on its way is called off by going back.
  await client.updateDeployment({ name: 'held', model: OTHER_BASE });
  await client.undoDeployment({ name: 'held' });
  expect(await get('held')).toMatchObject({ model: BASE, nextModel: '', generation: 5n });
  await client.stopDeployment({ name: 'held' });
});

test('deployments of one base share replicas only where their settings are the same', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const settings = { quantization: Quantization.INT4 };
  const plain = await client.deploy({ name: 'plain', model: BASE, waitReady: true });
  const small = await client.deploy({ name: 'small', model: BASE, settings, waitReady: true });
  const tuned = await client.deploy({ name: 'tuned-small', model: ADAPTER, settings, waitReady: true });
  expect(small.deployment!.endpoints[0]!.id).not.toBe(plain.deployment!.endpoints[0]!.id);
  expect(tuned.deployment!.endpoints[0]!.id).toBe(small.deployment!.endpoints[0]!.id);
  for (const name of ['plain', 'small', 'tuned-small']) await client.stopDeployment({ name });
});

test('an alias that moves rolls its deployment, told by an event or found later; undo holds until the next move', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const production = 'models:/medical-qa@production';
  const { deployment } = await client.deploy({ name: 'aliased', model: production, waitReady: true });
  expect(deployment).toMatchObject({ alias: production, model: ADAPTER });
  await mesh.moveAlias('medical-qa', 'production', '2.0.0');
  expect((await serving('aliased', ADAPTER_2)).alias).toBe(production);
  await client.undoDeployment({ name: 'aliased' });
  const { revision } = await serving('aliased', ADAPTER);
  await mesh.moveAlias('medical-qa', 'production', '1.0.0', false);
  await until(async () => (await get('aliased')).revision > revision);
  // An explicit version is kept, whatever the alias does.
  await mesh.moveAlias('medical-qa', 'production', '2.0.0', false);
  await serving('aliased', ADAPTER_2);
  const pinned = await client.updateDeployment({ name: 'aliased', model: ADAPTER });
  expect(pinned.deployment!.alias).toBe('');
  const { history } = await client.getDeployment({ name: 'aliased' });
  expect(history.map(({ reason }) => reason)).toContain('alias moved');
  await client.stopDeployment({ name: 'aliased' });
});

test('what contradicts itself is refused', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const wrong = [
    { replicas: 2, maxReplicas: 3 },
    { replicas: 1, minReplicas: 0 },
    { minReplicas: 3, maxReplicas: 2 },
    { minReplicas: -1 },
    { settings: { maxBatch: -1 } },
    { settings: { quantization: 9 as Quantization } },
    { settings: { runtime: '../kubernetes' } },
    { settings: { resources: { threads: 100_000 } } },
    { strategy: { maxSurge: -1 } },
    { scaling: { targetStepMs: Number.NaN } },
    { overflow: { deployment: 'No Name' } },
  ];
  for (const each of wrong) {
    await expect(
      client.deploy({ name: 'refused', model: BASE, ...each }),
      JSON.stringify(each),
    ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  }
  const refusals = [
    [{ settings: { runtime: 'kubernetes' } }, 'RUNTIME_UNKNOWN'],
    [{ overflow: { deployment: 'refused' } }, 'OVERFLOW_REFUSED'],
    [{ overflow: { deployment: 'nowhere' } }, 'OVERFLOW_REFUSED'],
  ] as const;
  for (const [each, reason] of refusals) {
    await expect(client.deploy({ name: 'refused', model: BASE, ...each })).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      reason,
    });
  }
  await client.deploy({ name: 'ranged', model: BASE, minReplicas: 1, maxReplicas: 2 });
  await expect(
    client.updateDeployment({ name: 'ranged', minReplicas: 2, maxReplicas: 1 }),
  ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  const memory = { resources: { memoryMib: 16_777_216 } };
  await client.deploy({ name: 'large', model: BASE, settings: memory });
  const { message } = await until(async () => {
    const now = await get('large');
    return now.message.includes('MiB') && now;
  });
  expect(message).toMatch(
    /^replicas can not be started; 16777216 MiB are needed, and 0 of \d+ MiB are taken$/,
  );
  for (const name of ['ranged', 'large']) await client.stopDeployment({ name });
});

test('replicas elsewhere are named for what finds no room, and never for personal data', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  await client.deploy({ name: 'remote', model: OTHER_BASE, waitReady: true });
  await client.deploy({ name: 'private', model: BASE, overflow: { deployment: 'remote' }, waitReady: true });
  for await (const list of client.watchEndpoints({ deployment: 'private' })) {
    expect(list.model).toBe(BASE);
    expect(list.overflow).toMatchObject({ model: OTHER_BASE, allowPersonalData: false });
    expect(list.overflow!.endpoints.map(({ state }) => state)).toEqual([EndpointState.READY]);
    break;
  }
  await client.updateDeployment({ name: 'private', overflow: { deployment: '' } });
  for await (const list of client.watchEndpoints({ deployment: 'private' })) {
    expect(list.overflow).toBeUndefined();
    break;
  }
  for (const name of ['remote', 'private']) await client.stopDeployment({ name });
});
