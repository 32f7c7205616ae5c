import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { DeploymentState, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { BASE, isAlive, type TestBalancer, TestMesh, until } from './mesh.ts';

// Processes are started and waited for; on a busy machine each takes seconds.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

let mesh: TestMesh | undefined;

beforeEach(async () => {
  mesh = await TestMesh.start();
});
afterEach(() => mesh?.[Symbol.asyncDispose]());

const endpointsOf = async ({ client }: TestBalancer, name: string) =>
  (await client.getDeployment({ name })).deployment!.endpoints;

test('a killed replica is replaced, and the deployment says so meanwhile', async (t) => {
  if (!mesh) return t.skip();
  const balancer = await mesh.balancer();
  const { client } = balancer;
  const { deployment } = await client.deploy({ name: 'qa', model: BASE, replicas: 2, waitReady: true });
  const [victim, other] = deployment!.endpoints;
  process.kill(Number(victim!.pid), 'SIGKILL');
  const degraded = await until(async () => {
    const now = (await client.getDeployment({ name: 'qa' })).deployment!;
    return now.state === DeploymentState.DEGRADED && now;
  });
  expect(degraded.message).toBe('1 of 2 replicas answer');
  const healed = await until(async () => {
    const now = (await client.getDeployment({ name: 'qa' })).deployment!;
    return now.state === DeploymentState.READY && now;
  });
  expect(healed.revision).toBeGreaterThan(degraded.revision);
  expect(healed.endpoints.map(({ id }) => id)).toContain(other!.id);
  expect(healed.endpoints.map(({ id }) => id)).not.toContain(victim!.id);
  expect(healed.endpoints.map(({ restarts }) => restarts).sort()).toEqual([0, 1]);
});

test('a replica that can not start is tried again after growing pauses, and its deployment says why', async (t) => {
  if (!mesh) return t.skip();
  const balancer = await mesh.balancer({ STAND_IN_FAIL: '1' });
  const { client } = balancer;
  await client.deploy({ name: 'qa', model: BASE });
  const failed = await until(async () => {
    const now = (await client.getDeployment({ name: 'qa' })).deployment!;
    return (now.endpoints[0]?.restarts ?? 0) >= 2 && now;
  });
  expect(failed.state).toBe(DeploymentState.PROGRESSING);
  expect(failed.message).toBe('replicas end before they answer (code 1); their log tells why');
  await expect(client.pick({ deployment: 'qa' })).rejects.toMatchObject({
    code: status.UNAVAILABLE,
    retryAfterMs: 1000,
  });
  await expect(
    client.deploy({ name: 'late', model: BASE, waitReady: true }, { timeoutMs: 300 }),
  ).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
  // The declaration stays although its caller gave up.
  expect((await client.getDeployment({ name: 'late' })).deployment!.state).toBe(DeploymentState.PROGRESSING);
});

test('a stopped replica leaves the endpoints, comes back when it goes on, and is replaced when it does not', async (t) => {
  if (!mesh) return t.skip();
  const balancer = await mesh.balancer({ LANDFALL_REPLICA_UNRESPONSIVE_MS: '6000' });
  const { client } = balancer;
  const { deployment } = await client.deploy({ name: 'qa', model: BASE, replicas: 2, waitReady: true });
  const pids = deployment!.endpoints.map(({ pid }) => Number(pid));
  const victim = pids[0]!;
  const stateOf = async (pid: number) =>
    (await endpointsOf(balancer, 'qa')).find((each) => Number(each.pid) === pid)?.state;

  process.kill(victim, 'SIGSTOP');
  const startMs = Date.now();
  await until(async () => (await stateOf(victim)) === EndpointState.FAILED);
  console.log(`a stopped replica left the endpoints after ${Date.now() - startMs} ms`);
  for (let i = 0; i < 20; i++) {
    expect(Number((await client.pick({ deployment: 'qa' })).endpoint!.pid)).toBe(pids[1]);
  }
  process.kill(victim, 'SIGCONT');
  await until(async () => (await stateOf(victim)) === EndpointState.READY);

  process.kill(victim, 'SIGSTOP');
  await until(() => !isAlive(victim));
  const healed = await until(async () => {
    const now = (await client.getDeployment({ name: 'qa' })).deployment!;
    return now.state === DeploymentState.READY && now;
  });
  expect(healed.endpoints.map(({ pid }) => Number(pid))).toContain(pids[1]);
});

test('callers hardly notice a killed and a stopped replica', async (t) => {
  if (!mesh) return t.skip();
  const balancer = await mesh.balancer({ LANDFALL_REPLICA_UNRESPONSIVE_MS: '4000' });
  const { client } = balancer;
  const { deployment } = await client.deploy({ name: 'qa', model: BASE, replicas: 3, waitReady: true });
  const calls = mesh.balanced(balancer.address);
  const [killed, stopped] = deployment!.endpoints.map(({ pid }) => Number(pid));
  const counts = { early: 0, earlyFailed: 0, late: 0, lateFailed: 0 };
  const startMs = Date.now();
  const over = new AbortController();
  const caller = async () => {
    while (!over.signal.aborted) {
      const late = Date.now() - startMs > 5000;
      counts[late ? 'late' : 'early']++;
      try {
        for await (const _ of calls.generate(
          { deployment: 'qa' },
          { prompt: 'count 2' },
          { timeoutMs: 8000 },
        ));
      } catch {
        counts[late ? 'lateFailed' : 'earlyFailed']++;
      }
      await delay(20);
    }
  };
  const callers = Array.from({ length: 4 }, caller);
  await delay(300);
  process.kill(killed!, 'SIGKILL');
  process.kill(stopped!, 'SIGSTOP');
  await delay(9000);
  over.abort();
  await Promise.all(callers);
  console.log(`one replica killed, one stopped: ${JSON.stringify(counts)}`);
  expect(counts.late).toBeGreaterThan(10);
  expect(counts.lateFailed).toBeLessThanOrEqual(counts.late / 100);
});

test('deployments are declared and kept while the broker is down, and told of when it is back', async (t) => {
  if (!mesh) return t.skip();
  const balancer = await mesh.balancer();
  await mesh.nats.kill();
  const { deployment } = await balancer.client.deploy({ name: 'qa', model: BASE, waitReady: true });
  expect(deployment!.state).toBe(DeploymentState.READY);
  await mesh.restartNats();
  const events = await mesh.deploymentEvents();
  await until(() => events.some(({ state }) => state === 'ready'));
  expect(events.map(({ revision }) => revision)).toEqual([1n, 2n].slice(0, events.length));
});
