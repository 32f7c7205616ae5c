/** Replicas whose processes hold more memory than was declared. */

import { DeploymentState, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { ReplicaReplacedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { residentMib } from '../src/runtime/resident-memory.ts';
import { BASE, isAlive, keepCalling, type TestBalancer, TestMesh, until } from './mesh.ts';

// Processes are started and waited for; on a busy machine each takes seconds.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const LIMIT_MIB = 500;
const REASON = /^its process holds \d+ MiB, 500 MiB were declared$/;

let mesh: TestMesh | undefined;
let balancer: TestBalancer;

beforeAll(async () => {
  mesh = await TestMesh.start();
  if (mesh) balancer = await mesh.balancer({ LANDFALL_REPLICA_MEMORY_MS: '100' });
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const get = async (name: string) => (await balancer.client.getDeployment({ name })).deployment!;

/** One replica with a limit. */
async function deploy(name: string): Promise<{ pid: number; id: string }> {
  const settings = { resources: { memoryMib: LIMIT_MIB } };
  const { deployment } = await balancer.client.deploy({ name, model: BASE, settings, waitReady: true });
  const [endpoint] = deployment!.endpoints;
  return { pid: Number(endpoint!.pid), id: endpoint!.id };
}

/** Has the replica of a deployment hold this many times its limit. */
async function grow(name: string, pid: number, times: number): Promise<void> {
  const mib = Math.ceil(times * LIMIT_MIB - residentMib(pid)!);
  const request = { prompt: `grow ${mib}` };
  for await (const _ of mesh!.balanced(balancer.address).generate({ deployment: name }, request));
}

test('one that passes its limit serves until another answers, and its reason is told', async (t) => {
  if (!mesh) return t.skip();
  const events = await mesh.events('landfall.balancer.replica.replaced.v1', ReplicaReplacedSchema);
  const { pid, id } = await deploy('leaky');
  const calls = keepCalling(mesh.balanced(balancer.address), 'leaky', 'count 5');
  // Within its limit it is left alone, however much it holds.
  await grow('leaky', pid, 0.9);
  await until(() => calls.models.length > 50);
  expect((await get('leaky')).endpoints.map((each) => each.id)).toEqual([id]);
  await grow('leaky', pid, 1.1);
  const replacing = await until(async () => {
    const { endpoints, state } = await get('leaky');
    const old = endpoints.find((each) => each.id === id);
    return endpoints.length === 2 && old !== undefined && old.message !== '' && { old, state };
  });
  expect(replacing.old.message).toMatch(/^it is being replaced: its process holds/);
  expect([replacing.old.state, replacing.state]).toEqual([EndpointState.READY, DeploymentState.READY]);
  await until(() => !isAlive(pid));
  const after = await get('leaky');
  expect(after.endpoints.filter(({ state }) => state === EndpointState.READY)).toMatchObject([
    { restarts: 1, message: '' },
  ]);
  expect(after.lastReplacement).toContain(`replica ${id}: its process holds`);
  await until(() => events.some(({ replica }) => replica === id));
  await calls.stop();
  expect(calls.failures).toEqual([]);
  const told = events.filter(({ replica }) => replica === id);
  expect(told).toMatchObject([{ tenant: 'acme', base: BASE, limitMib: BigInt(LIMIT_MIB) }]);
  expect(told[0]!.reason).toMatch(REASON);
  expect(Number(told[0]!.residentMib)).toBeGreaterThan(LIMIT_MIB);
  await balancer.client.stopDeployment({ name: 'leaky' });
});

test('one that is far above its limit ends at once, and the deployment says why it waits', async (t) => {
  if (!mesh) return t.skip();
  const { pid, id } = await deploy('bursting');
  // It may be ended before it has answered.
  await grow('bursting', pid, 1.6).catch(() => {});
  // Before that it may say that no replica answers: the process is gone before its end is understood.
  await until(async () => {
    const { state, message } = await get('bursting');
    const tells = /^a replica is replaced: its process holds \d+ MiB, 500 MiB were declared$/.test(message);
    return state === DeploymentState.DEGRADED && tells;
  });
  await until(() => !isAlive(pid));
  const healed = await until(async () => {
    const now = await get('bursting');
    return now.state === DeploymentState.READY && now;
  });
  expect(healed.endpoints.map((each) => each.id)).not.toContain(id);
  await balancer.client.stopDeployment({ name: 'bursting' });
});
