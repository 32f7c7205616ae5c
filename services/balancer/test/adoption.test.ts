import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { DeploymentState, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { readConfig } from '../src/config.ts';
import type { ReplicaRow } from '../src/db/entities.ts';
import { ReplicaStore } from '../src/domain/replica-store.ts';
import { openDatabase } from '../src/service.ts';
import { ADAPTER, ADAPTER_2, BASE, isAlive, OTHER_BASE, type TestBalancer, TestMesh, until } from './mesh.ts';

// Processes are started and waited for; on a busy machine each takes seconds.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

let mesh: TestMesh | undefined;

beforeEach(async () => {
  mesh = await TestMesh.start();
});
afterEach(() => mesh?.[Symbol.asyncDispose]());

const get = async ({ client }: TestBalancer, name: string) =>
  (await client.getDeployment({ name })).deployment!;
const pidsOf = (deployment: { endpoints: { pid: bigint }[] }) =>
  deployment.endpoints.map(({ pid }) => Number(pid));

test('a killed balancer leaves its replicas to the next, which adopts those that live and replaces the other', async (t) => {
  if (!mesh) return t.skip();
  const first = await mesh.balancerProcess();
  const { deployment } = await first.client.deploy(
    { name: 'qa', model: ADAPTER, replicas: 3, waitReady: true },
    { timeoutMs: 40_000 },
  );
  const pids = pidsOf(deployment!);
  await first.kill();
  expect(pids.every(isAlive)).toBe(true);
  process.kill(pids[1]!, 'SIGKILL');
  await until(() => !isAlive(pids[1]!));

  const second = await mesh.balancerProcess();
  const adopted = await get(second, 'qa');
  expect(pidsOf(adopted)).toEqual(expect.arrayContaining([pids[0], pids[2]]));
  const healed = await until(async () => {
    const now = await get(second, 'qa');
    // The state that the first balancer left says READY until this one has written its own.
    const answer = now.endpoints.every(({ state }) => state === EndpointState.READY);
    return now.state === DeploymentState.READY && now.endpoints.length === 3 && answer && now;
  });
  const after = pidsOf(healed);
  expect(after).toEqual(expect.arrayContaining([pids[0], pids[2]]));
  expect(after).not.toContain(pids[1]);
  expect(healed.endpoints.every(({ adapterLoaded }) => adapterLoaded)).toBe(true);

  // An adopted replica that dies is noticed although it is no child of this balancer.
  process.kill(pids[0]!, 'SIGKILL');
  await until(async () => {
    const now = await get(second, 'qa');
    return now.state === DeploymentState.READY && !pidsOf(now).includes(pids[0]!);
  });
  const last = pidsOf(await get(second, 'qa'));
  await second.stop();
  expect([...pids, ...last].filter(isAlive)).toEqual([]);
});

test('a balancer that is told to leaves its replicas, and the next one finds them serving', async (t) => {
  if (!mesh) return t.skip();
  const first = await mesh.balancer({ LANDFALL_BALANCER_ON_STOP: 'leave' });
  const { deployment } = await first.client.deploy({ name: 'qa', model: BASE, replicas: 2, waitReady: true });
  await first.stop();
  const second = await mesh.balancer();
  const adopted = await get(second, 'qa');
  expect(pidsOf(adopted)).toEqual(pidsOf(deployment!));
  expect(adopted).toMatchObject({ state: DeploymentState.READY, revision: deployment!.revision });
});

test('replicas of a deployment that nobody wants any more are ended by the next balancer', async (t) => {
  if (!mesh) return t.skip();
  const first = await mesh.balancerProcess();
  const { deployment } = await first.client.deploy({ name: 'qa', model: BASE, waitReady: true });
  // Stopped replicas can't obey: the first balancer dies while it drains.
  for (const pid of pidsOf(deployment!)) process.kill(pid, 'SIGSTOP');
  await first.client.stopDeployment({ name: 'qa' });
  await first.kill();
  for (const pid of pidsOf(deployment!)) process.kill(pid, 'SIGCONT');
  await mesh.balancer();
  await until(() => !pidsOf(deployment!).some(isAlive));
});

test('a process that has the id of a replica of old is neither adopted nor ended', async (t) => {
  if (!mesh) return t.skip();
  const config = readConfig(mesh.env);
  const stranger = spawn('sleep', ['600']);
  await once(stranger, 'spawn');
  try {
    {
      await using database = await openDatabase(config);
      await new ReplicaStore(database).insert({
        id: 'd4e0f1de-0000-4000-8000-000000000000',
        tenant: 'acme',
        base: BASE,
        slot: 0,
        address: '127.0.0.1:1',
        pid: stranger.pid!,
        mark: 'another boot:1',
        restarts: 0,
        draining: false,
        createdMs: Date.now(),
      } as ReplicaRow);
    }
    const balancer = await mesh.balancer();
    const { deployment } = await balancer.client.deploy({ name: 'qa', model: BASE, waitReady: true });
    expect(pidsOf(deployment!)).not.toContain(stranger.pid);
    await balancer.stop();
    expect(isAlive(stranger.pid!)).toBe(true);
    await using database = await openDatabase(config);
    expect(await new ReplicaStore(database).all()).toEqual([]);
  } finally {
    stranger.kill('SIGKILL');
  }
});

test('a replica whose pid was never written down is found by its id', async (t) => {
  if (!mesh || process.platform !== 'linux') return t.skip();
  const first = await mesh.balancerProcess();
  const { deployment } = await first.client.deploy({ name: 'qa', model: BASE, waitReady: true });
  await first.kill();
  {
    await using database = await openDatabase(readConfig(mesh.env));
    await new ReplicaStore(database).update(deployment!.endpoints[0]!.id, { pid: 0, mark: '' });
  }
  const second = await mesh.balancer();
  expect(pidsOf(await get(second, 'qa'))).toEqual(pidsOf(deployment!));
});

test('the sweep ends what a killed balancer has left', async (t) => {
  if (!mesh) return t.skip();
  const balancer = await mesh.balancerProcess();
  const { deployment } = await balancer.client.deploy({
    name: 'qa',
    model: BASE,
    replicas: 2,
    waitReady: true,
  });
  await balancer.kill();
  const sweep = spawn(process.execPath, [join(import.meta.dirname, '../src/sweep-main.ts')], {
    env: mesh.env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  sweep.stdout.on('data', (chunk) => {
    out += chunk;
  });
  const [code] = await once(sweep, 'exit');
  expect({ code, out }).toEqual({ code: 0, out: '{"ended":2}\n' });
  expect(pidsOf(deployment!).filter(isAlive)).toEqual([]);
});

test('a rollout and a canary go on where a killed balancer left them', async (t) => {
  if (!mesh) return t.skip();
  const slow = { STAND_IN_START_MS: '800' };
  const first = await mesh.balancerProcess(slow);
  const strategy = { maxSurge: 1 };
  await first.client.deploy({ name: 'rolled', model: BASE, replicas: 2, strategy, waitReady: true });
  await first.client.deploy({ name: 'tried', model: ADAPTER, minReplicas: 0, waitReady: true });
  await first.client.startCanary({ name: 'tried', model: ADAPTER_2, weightPercent: 20 });
  await first.client.reportOutcomes({ deployment: 'tried', model: ADAPTER_2, calls: 9n, errors: 1n });
  await first.client.updateDeployment({ name: 'rolled', model: OTHER_BASE });
  // One of the two is replaced, or both, but never none, when it is killed.
  await until(() => first.client.pick({ model: OTHER_BASE }, { attempts: 1 }).catch(() => false as const));
  await first.kill();

  const second = await mesh.balancer(slow);
  const { client } = second;
  const rolled = await until(async () => {
    const now = await get(second, 'rolled');
    return now.model === OTHER_BASE && now.state === DeploymentState.READY && now;
  });
  expect(rolled.endpoints).toHaveLength(2);
  const { canary, minReplicas } = await get(second, 'tried');
  expect(minReplicas).toBe(0);
  expect(canary).toMatchObject({ model: ADAPTER_2, weightPercent: 20, canary: { calls: 9n, errors: 1n } });
  for (const name of ['rolled', 'tried']) await client.stopDeployment({ name });
});
