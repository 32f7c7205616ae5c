import { setTimeout as delay } from 'node:timers/promises';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { DeploymentState, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
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
  if (mesh) balancer = await mesh.balancer();
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const get = async (name: string) => (await balancer.client.getDeployment({ name })).deployment!;
const settled = (name: string) =>
  until(async () => {
    const now = await get(name);
    return now.state === DeploymentState.READY && now;
  });

/** Stops a deployment and waits for its replicas to be gone, so that the next test finds none on its way out. */
async function end(name: string): Promise<void> {
  const pids = (await get(name)).endpoints.map(({ pid }) => Number(pid));
  await balancer.client.stopDeployment({ name });
  await until(() => !pids.some(isAlive));
}

test('replicas go up and down under load, and no call fails', async (t) => {
  if (!mesh) return t.skip();
  await balancer.client.deploy({ name: 'scaled', model: BASE, replicas: 1, waitReady: true });
  const { models, failures, stop } = keepCalling(mesh.balanced(balancer.address), 'scaled');
  const more = await balancer.client.updateDeployment({ name: 'scaled', replicas: 3 });
  expect(more.deployment).toMatchObject({ replicas: 3, state: DeploymentState.PROGRESSING });
  const grown = await settled('scaled');
  expect(grown.endpoints).toHaveLength(3);
  await balancer.client.updateDeployment({ name: 'scaled', replicas: 1 });
  const pids = grown.endpoints.map(({ pid }) => Number(pid));
  await until(() => pids.filter(isAlive).length === 1);
  await stop();
  console.log(`up to 3 replicas and down to 1 under load: ${models.length} calls, ${failures.length} failed`);
  expect(failures).toEqual([]);
  await end('scaled');
});

test('a new adapter of the same base takes over without a start, and the old one is dropped', async (t) => {
  if (!mesh) return t.skip();
  const { deployment } = await balancer.client.deploy({ name: 'tuned', model: ADAPTER, waitReady: true });
  const [replica] = deployment!.endpoints;
  const { models, failures, stop } = keepCalling(mesh.balanced(balancer.address), 'tuned');
  await balancer.client.updateDeployment({ name: 'tuned', model: ADAPTER_2 });
  const after = await until(async () => {
    const now = await settled('tuned');
    return now.model === ADAPTER_2 && now;
  });
  expect(after.endpoints.map(({ id }) => id)).toEqual([replica!.id]);
  await until(() => mesh!.log(replica!.id).includes(`{"unloadAdapter":"${ADAPTER}"}`));
  await until(() => models.includes(ADAPTER_2));
  await stop();
  expect(failures).toEqual([]);
  expect([...new Set(models)]).toEqual([ADAPTER, ADAPTER_2]);
  await end('tuned');
});

test('a model of another base takes over when its replicas answer; the old ones serve until then', async (t) => {
  if (!mesh) return t.skip();
  const { deployment } = await balancer.client.deploy({ name: 'moved', model: BASE, waitReady: true });
  const old = Number(deployment!.endpoints[0]!.pid);
  const { models, failures, stop } = keepCalling(mesh.balanced(balancer.address), 'moved');
  const moving = await balancer.client.updateDeployment({ name: 'moved', model: OTHER_BASE });
  expect(moving.deployment).toMatchObject({ model: BASE, state: DeploymentState.PROGRESSING });
  const after = await until(async () => {
    const now = await get('moved');
    return now.state === DeploymentState.READY && now.model === OTHER_BASE && now;
  });
  expect(after.base).toBe(OTHER_BASE);
  await until(() => !isAlive(old));
  await until(() => models.includes(OTHER_BASE));
  await stop();
  expect(failures).toEqual([]);
  expect([...new Set(models)]).toEqual([BASE, OTHER_BASE]);
  await end('moved');
});

test('a watcher sees whole lists with growing revisions, at most four a second, and the end of its deployment', async (t) => {
  if (!mesh) return t.skip();
  await balancer.client.deploy({ name: 'watched', model: ADAPTER, replicas: 1 });
  const client = mesh.channel(balancer.address).client(BalancerService);
  const lists: { ms: number; revision: bigint; states: EndpointState[]; running: number }[] = [];
  const watching = (async () => {
    for await (const { endpoints, revision, model, base } of client.watchEndpoints({
      deployment: 'watched',
    })) {
      expect([model, base]).toEqual([ADAPTER, BASE]);
      const running = endpoints.reduce((sum, { load }) => sum + (load?.running ?? 0), 0);
      lists.push({ ms: performance.now(), revision, states: endpoints.map(({ state }) => state), running });
    }
  })();
  watching.catch(() => {});
  await settled('watched');
  const { stop } = keepCalling(mesh.balanced(balancer.address), 'watched');
  await until(() => lists.some(({ running }) => running > 0));
  await delay(1000);
  await stop();
  const perSecond = lists.map(
    ({ ms }) => lists.filter((each) => each.ms >= ms && each.ms < ms + 1000).length,
  );
  // Four intervals of 250 ms have five ends; a busy machine may hand two over at once.
  expect(Math.max(...perSecond)).toBeLessThanOrEqual(6);
  expect(lists.flatMap(({ states }) => states)).toEqual(
    expect.arrayContaining([EndpointState.STARTING, EndpointState.READY]),
  );
  const revisions = lists.map(({ revision }) => revision);
  expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => Number(a - b)));
  await balancer.client.stopDeployment({ name: 'watched' });
  await expect(watching).rejects.toMatchObject({ reason: 'DEPLOYMENT_NOT_FOUND' });
});
