import { status } from '@grpc/grpc-js';
import { DeploymentState, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ADAPTER, BASE, isAlive, type TestBalancer, TestMesh, until } from './mesh.ts';

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
