import { status } from '@grpc/grpc-js';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { DeploymentState, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  ADAPTER,
  BASE,
  DRAFT,
  editor,
  isAlive,
  OTHER_BASE,
  type TestBalancer,
  TestMesh,
  until,
  WRONG,
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

test('a base is deployed with replicas, watched, picked, called, and an adapter joins it without a start', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const { deployment } = await client.deploy({ name: 'base', model: BASE, replicas: 2, waitReady: true });
  expect(deployment).toMatchObject({ state: DeploymentState.READY, model: BASE, base: BASE, replicas: 2 });
  expect(deployment!.endpoints.map(({ state }) => state)).toEqual([EndpointState.READY, EndpointState.READY]);
  const pids = deployment!.endpoints.map(({ pid }) => Number(pid));
  expect(pids.every(isAlive)).toBe(true);

  const { endpoint, model } = await client.pick({ deployment: 'base' });
  expect(model).toBe(BASE);
  expect(pids).toContain(Number(endpoint!.pid));

  const calls = mesh.balanced(balancer.address);
  const texts = [];
  for await (const { delta } of calls.generate({ deployment: 'base' }, { prompt: 'count 2' }))
    texts.push(delta);
  expect(texts.join('')).toMatch(/^(\d+ ){2}$/);

  const tuned = await client.deploy({
    name: 'medical',
    model: 'models:/medical-qa@production',
    replicas: 1,
    waitReady: true,
  });
  expect(tuned.deployment).toMatchObject({ state: DeploymentState.READY, model: ADAPTER, base: BASE });
  await until(async () => {
    const { deployment: now } = await client.getDeployment({ name: 'medical' });
    return now!.endpoints.length === 2 && now!.endpoints.every(({ adapterLoaded }) => adapterLoaded);
  });
  const after = (await client.getDeployment({ name: 'medical' })).deployment!.endpoints;
  expect(after.map(({ pid }) => Number(pid))).toEqual(pids);
  for await (const { model: answered } of calls.generate({ deployment: 'medical' }, { prompt: 'count 1' })) {
    if (answered) expect(answered).toBe(ADAPTER);
  }

  await client.stopDeployment({ name: 'base' });
  await until(() => pids.filter(isAlive).length === 1);
  await client.stopDeployment({ name: 'medical' });
  await until(() => !pids.some(isAlive));
  await expect(client.pick({ deployment: 'medical' })).rejects.toMatchObject({ code: status.NOT_FOUND });
});

test('what can not be deployed is refused, and says why', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const refusals: [string, status][] = [
    ['models:/unknown/1.0.0', status.NOT_FOUND],
    ['models:/base/9.9.9', status.NOT_FOUND],
    ['models:/base@canary', status.NOT_FOUND],
    [DRAFT, status.FAILED_PRECONDITION],
    ['models:/rows/1.0.0', status.FAILED_PRECONDITION],
    ['models:/no-base/1.0.0', status.FAILED_PRECONDITION],
    ['models:/../1.0.0', status.INVALID_ARGUMENT],
    ['base', status.INVALID_ARGUMENT],
    ['', status.INVALID_ARGUMENT],
    [`models:/base/1.0.0' or 1=1 --`, status.INVALID_ARGUMENT],
  ];
  for (const [model, code] of refusals) {
    await expect(client.deploy({ name: 'refused', model }), model).rejects.toMatchObject({ code });
  }
  for (const name of ['', '../x', '..\\x', '..%2f', '/etc', 'a\0b', 'Upper', 'a'.repeat(65), '__proto__']) {
    await expect(client.deploy({ name, model: BASE }), name).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
  }
  for (const replicas of [-1, 65, 2 ** 31 - 1]) {
    await expect(client.deploy({ name: 'refused', model: BASE, replicas })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
  }
  for (const request of [{}, { deployment: 'a', model: BASE }]) {
    await expect(client.pick(request)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  }
  await expect(client.listDeployments({ pageToken: 'e30' })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
  });
  await expect(client.getDeployment({ name: 'refused' })).rejects.toMatchObject({ code: status.NOT_FOUND });
  await expect(client.stopDeployment({ name: 'refused' })).rejects.toMatchObject({ code: status.NOT_FOUND });
});

test('deployments are of their tenant, and only editors change them', async (t) => {
  if (!mesh) return t.skip();
  await balancer.client.deploy({ name: 'ours', model: BASE, waitReady: true });
  const stranger = mesh.channel(balancer.address, { ...editor, tenant: 'other' }).client(BalancerService);
  await expect(stranger.getDeployment({ name: 'ours' })).rejects.toMatchObject({ code: status.NOT_FOUND });
  await expect(stranger.stopDeployment({ name: 'ours' })).rejects.toMatchObject({ code: status.NOT_FOUND });
  await expect(stranger.pick({ deployment: 'ours' })).rejects.toMatchObject({ code: status.NOT_FOUND });
  await expect(stranger.pick({ model: BASE })).rejects.toMatchObject({ code: status.UNAVAILABLE });
  expect((await stranger.listDeployments({})).deployments).toEqual([]);
  const viewer = mesh.channel(balancer.address, { ...editor, role: Role.VIEWER }).client(BalancerService);
  const denied = { code: status.PERMISSION_DENIED };
  await expect(viewer.deploy({ name: 'x', model: BASE })).rejects.toMatchObject(denied);
  await expect(viewer.updateDeployment({ name: 'ours', replicas: 2 })).rejects.toMatchObject(denied);
  await expect(viewer.stopDeployment({ name: 'ours' })).rejects.toMatchObject(denied);
  expect((await viewer.pick({ model: BASE })).model).toBe(BASE);
  await balancer.client.stopDeployment({ name: 'ours' });
});

test('of racing declarations one wins; a repeated request changes nothing', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const results = await Promise.allSettled(
    Array.from({ length: 6 }, () => client.deploy({ name: 'raced', model: BASE })),
  );
  expect(results.filter((each) => each.status === 'fulfilled')).toHaveLength(1);
  for (const each of results) {
    if (each.status === 'rejected') expect(each.reason.code).toBe(status.ALREADY_EXISTS);
  }
  const request = { requestId: 'r-1', name: 'repeated', model: BASE, replicas: 1 };
  const answers = await Promise.all(Array.from({ length: 4 }, () => client.deploy(request)));
  expect(new Set(answers.map(({ deployment }) => deployment!.name))).toEqual(new Set(['repeated']));
  await expect(client.deploy({ ...request, replicas: 2 })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
  });
  const stop = { requestId: 'r-2', name: 'repeated' };
  const first = await client.stopDeployment(stop);
  const second = await client.stopDeployment(stop);
  expect(first.deployment!.state).toBe(DeploymentState.STOPPED);
  expect(second.deployment!.revision).toBe(first.deployment!.revision);
  // Its name may be used again, and its revision goes on from where it was.
  const again = await client.deploy({ name: 'repeated', model: BASE });
  expect(again.deployment!.revision).toBeGreaterThan(first.deployment!.revision);
  for (const name of ['raced', 'repeated']) await client.stopDeployment({ name });
});

test('lists are paged by name, with filters that a token belongs to', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const names = ['list-a', 'list-b', 'list-c', 'list-d', 'list-e'];
  for (const name of names) await client.deploy({ name, model: name === 'list-c' ? OTHER_BASE : ADAPTER });
  await client.stopDeployment({ name: 'list-e' });
  const seen: string[] = [];
  let pageToken = '';
  do {
    const page = await client.listDeployments({ pageSize: 2, pageToken, base: BASE });
    seen.push(...page.deployments.map(({ name }) => name));
    pageToken = page.nextPageToken;
    if (pageToken) {
      await expect(client.listDeployments({ pageSize: 2, pageToken })).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
      });
    }
  } while (pageToken);
  expect(seen.filter((name) => name.startsWith('list-'))).toEqual(['list-a', 'list-b', 'list-d']);
  const all = await client.listDeployments({ includeStopped: true });
  const states = Object.fromEntries(all.deployments.map(({ name, state }) => [name, state]));
  expect(states['list-e']).toBe(DeploymentState.STOPPED);
  for (const name of names) await client.stopDeployment({ name });
});

test('an adapter that does not fit its base keeps its deployment from being ready, and says why', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  await client.deploy({ name: 'wrong', model: WRONG });
  const { message } = await until(async () => {
    const now = (await client.getDeployment({ name: 'wrong' })).deployment!;
    return now.message.includes('wrong-base') && now;
  });
  expect(message).toBe(`${WRONG} can not be loaded: ${WRONG} was made for another base`);
  await client.stopDeployment({ name: 'wrong' });
});

test('each change is announced with its revision, and nothing is announced twice', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  const events = await mesh.deploymentEvents();
  await client.deploy({ name: 'told', model: ADAPTER, replicas: 1, waitReady: true });
  const { deployment } = await client.stopDeployment({ name: 'told' });
  const told = () => events.filter(({ name }) => name === 'told');
  await until(() => told().at(-1)?.state === 'stopped');
  const revisions = told().map(({ revision }) => Number(revision));
  expect(revisions).toEqual(revisions.map((_, index) => index + 1));
  expect(told()[0]).toMatchObject({ tenant: 'acme', state: 'progressing', model: ADAPTER, replicas: 1 });
  expect(told().at(-2)).toMatchObject({ state: 'ready', readyReplicas: 1 });
  expect(told().at(-1)!.revision).toBe(deployment!.revision);
});
