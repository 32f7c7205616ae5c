import { DeploymentState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { BASE, isAlive, keepCalling, smallAdapter, type TestBalancer, TestMesh, until } from './mesh.ts';

// Processes are started and waited for; on a busy machine each takes seconds.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

let mesh: TestMesh | undefined;
let balancer: TestBalancer;

beforeAll(async () => {
  mesh = await TestMesh.start();
  if (!mesh) return;
  balancer = await mesh.balancer({ LANDFALL_BALANCER_SCALE_MS: '200', LANDFALL_TEXT_ADAPTERS: '2' });
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const get = async (name: string) => (await balancer.client.getDeployment({ name })).deployment!;

test('replicas follow the load up and down, and their number tells its reasons', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const scaling = { targetRequests: 2, downWindowS: 1 };
  await client.deploy({
    name: 'elastic',
    model: BASE,
    minReplicas: 1,
    maxReplicas: 3,
    scaling,
    waitReady: true,
  });
  const calls = keepCalling(mesh.balanced(balancer.address), 'elastic', 'count 40', 6);
  const grown = await until(async () => {
    const now = await get('elastic');
    return now.replicas === 3 && now.state === DeploymentState.READY && now;
  });
  expect(grown.endpoints).toHaveLength(3);
  expect(grown.autoscaling!.decisions[0]!.reason).toMatch(/^\d+ requests, 2 for each replica$/);
  await calls.stop();
  const shrunk = await until(async () => {
    const now = await get('elastic');
    return now.replicas === 1 && now.state === DeploymentState.READY && now;
  });
  expect(calls.failures).toEqual([]);
  const { decisions, desired, lastChange } = shrunk.autoscaling!;
  console.log(decisions.map(({ from, to, reason }) => `${from} to ${to}: ${reason}`).join('; '));
  expect(desired).toBe(1);
  expect(lastChange).toEqual(decisions[0]!.time);
  for (const [index, { from, to }] of decisions.entries()) {
    expect(to).toBeLessThanOrEqual(3);
    expect(from).toBe(decisions[index + 1]?.to ?? 1);
  }
  const pids = grown.endpoints.map(({ pid }) => pid);
  await until(() => pids.filter(isAlive).length === 1);
  await client.stopDeployment({ name: 'elastic' });
});

test('a deployment that nobody asks for sleeps; a call wakes it and is answered, and so does a pick', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const scaling = { idleS: 1 };
  const { deployment } = await client.deploy({
    name: 'sleepy',
    model: BASE,
    minReplicas: 0,
    maxReplicas: 2,
    scaling,
    waitReady: true,
  });
  expect(deployment).toMatchObject({ replicas: 1, minReplicas: 0, maxReplicas: 2 });
  const asleep = () =>
    until(async () => {
      const now = await get('sleepy');
      return now.replicas === 0 && now.endpoints.length === 0 && now.state === DeploymentState.READY && now;
    });
  expect((await asleep()).message).toBe('it sleeps until a caller asks');
  expect(isAlive(deployment!.endpoints[0]!.pid)).toBe(false);

  const calls = mesh.balanced(balancer.address, { idleMs: 100 });
  const texts: string[] = [];
  const startMs = performance.now();
  for await (const { delta } of calls.generate({ deployment: 'sleepy' }, { prompt: 'count 2' }))
    texts.push(delta);
  console.log(
    `a call of a sleeping deployment is answered after ${(performance.now() - startMs).toFixed(0)} ms`,
  );
  expect(texts.join('')).toMatch(/^(\d+ ){2}$/);
  const { autoscaling } = await get('sleepy');
  expect(autoscaling!.decisions.map(({ reason }) => reason)).toEqual([
    'a caller asked',
    'nobody has asked for 1 s',
  ]);

  await asleep();
  await expect(client.pick({ deployment: 'sleepy' }, { attempts: 1 })).rejects.toMatchObject({
    reason: 'NO_ENDPOINT',
  });
  await until(async () => (await get('sleepy')).replicas === 1);
  await client.stopDeployment({ name: 'sleepy' });
});

test('more adapters than one replica holds are spread over replicas, and calls go where theirs is', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const names = ['a', 'b', 'c', 'd'];
  for (const name of names) await client.deploy({ name, model: smallAdapter(name), replicas: 2 });
  const held = await until(async () => {
    const all = await Promise.all(names.map(get));
    if (all.some(({ state }) => state !== DeploymentState.READY)) return undefined;
    const loads = all[0]!.endpoints.map(({ load }) => load!.adapters);
    return loads.every((adapters) => adapters.length === 2) && loads;
  });
  expect(held.flat().sort()).toEqual(names.map(smallAdapter));
  for (const name of names) {
    const { endpoint } = await client.pick({ deployment: name });
    expect(endpoint!.adapterLoaded).toBe(true);
  }
  // One more does not fit anywhere, and says so; those that are placed stay.
  await client.deploy({ name: 'e', model: 'models:/medical-qa/1.0.0', replicas: 2 });
  const { message } = await until(async () => {
    const all = await Promise.all([...names, 'e'].map(get));
    return all.find((each) => each.message.includes('no replica has room'));
  });
  expect(message).toContain('all places for adapters are taken');
  await client.stopDeployment({ name: 'e' });
  await until(async () => {
    const all = await Promise.all(names.map(get));
    return all.every(({ state }) => state === DeploymentState.READY);
  });
  for (const name of names) await client.stopDeployment({ name });
});
