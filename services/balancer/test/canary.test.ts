import { status } from '@grpc/grpc-js';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { DeploymentState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  ADAPTER,
  ADAPTER_2,
  BASE,
  editor,
  isAlive,
  keepCalling,
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

const get = async (name: string) => (await balancer.client.getDeployment({ name })).deployment!;

test('a canary gets its share of the calls, and is promoted to all of them', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  await client.deploy({ name: 'shared', model: ADAPTER, waitReady: true });
  const started = await client.startCanary({ name: 'shared', model: ADAPTER_2, weightPercent: 30 });
  expect(started.deployment!.canary).toMatchObject({ model: ADAPTER_2, weightPercent: 30 });
  await until(async () => (await get('shared')).canary!.readyReplicas === 1);
  const calls = keepCalling(mesh.balanced(balancer.address), 'shared', 'count 1');
  await until(() => calls.models.includes(ADAPTER_2));
  const from = calls.models.length;
  await until(() => calls.models.length >= from + 400);
  const seen = calls.models.slice(from);
  const share = seen.filter((model) => model === ADAPTER_2).length / seen.length;
  console.log(`canary of 30 %: ${(100 * share).toFixed(1)} % of ${seen.length} calls`);
  // Each subject has a place of its own, so that the share is one of many draws: within five standard deviations.
  expect(Math.abs(share - 0.3)).toBeLessThan(5 * Math.sqrt((0.3 * 0.7) / seen.length));
  // Callers tell how their calls ended.
  const told = await until(async () => {
    const { canary } = await get('shared');
    return (canary?.canary?.calls ?? 0n) > 0n && (canary?.stable?.calls ?? 0n) > 0n && canary;
  });
  expect(told.canary!.errors).toBe(0n);
  await client.promoteCanary({ name: 'shared' });
  const promoted = await until(async () => {
    const now = await get('shared');
    return now.model === ADAPTER_2 && now.state === DeploymentState.READY && now;
  });
  // Callers hear of it a moment later; so many in a row are no accident.
  await until(() => calls.models.slice(-30).every((model) => model === ADAPTER_2));
  await calls.stop();
  expect(calls.failures).toEqual([]);
  expect(promoted).toMatchObject({ generation: 2n, canaryOutcome: `${ADAPTER_2} was promoted` });
  expect(promoted.canary).toBeUndefined();
  await client.stopDeployment({ name: 'shared' });
});

test('a canary whose calls fail is given up by itself, and its replicas end', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  await client.deploy({ name: 'failing', model: BASE, waitReady: true });
  const events = await mesh.deploymentEvents();
  const limits = { minCalls: 20, errorMargin: 0.2 };
  await client.startCanary({ name: 'failing', model: OTHER_BASE, weightPercent: 50, limits });
  await until(async () => (await get('failing')).canary!.readyReplicas === 1);
  const endpoints = await client.pick({ model: OTHER_BASE });
  const calls = keepCalling(mesh.balanced(balancer.address), 'failing', `fail-on ${OTHER_BASE}`);
  const ended = await until(async () => {
    const now = await get('failing');
    return now.canaryOutcome !== '' && now;
  });
  await until(() => !isAlive(endpoints.endpoint!.pid));
  await calls.stop();
  console.log(`canary given up: ${ended.canaryOutcome}`);
  expect(ended.canaryOutcome).toMatch(
    /^models:\/other-base\/1\.0\.0 was given up: \d+\.\d % of its \d+ calls failed/,
  );
  expect(ended.canary).toBeUndefined();
  expect(ended.model).toBe(BASE);
  await until(() => events.some(({ name, revision }) => name === 'failing' && revision >= ended.revision));
  await client.stopDeployment({ name: 'failing' });
});

test('a canary whose scores fall is given up; a repeated report counts once, what is not asked for never', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  await client.deploy({ name: 'scored', model: ADAPTER, waitReady: true });
  expect(await client.reportScore({ deployment: 'scored', model: ADAPTER, score: 1 })).toMatchObject({
    canaryRunning: false,
  });
  const limits = { minScores: 5, scoreMargin: 0.1 };
  await client.startCanary({ name: 'scored', model: ADAPTER_2, weightPercent: 10, limits });
  const invoker = mesh.channel(balancer.address, { ...editor, role: Role.INVOKER }).client(BalancerService);
  const report = { requestId: 'told-once', deployment: 'scored', model: ADAPTER_2, calls: 3n, errors: 1n };
  for (let i = 0; i < 3; i++) await invoker.reportOutcomes(report);
  await invoker.reportOutcomes({ deployment: 'scored', model: BASE, calls: 100n, errors: 100n });
  await expect(
    invoker.reportOutcomes({ deployment: 'scored', model: BASE, calls: 1n, errors: 2n }),
  ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  expect((await get('scored')).canary!.canary).toMatchObject({ calls: 3n, errors: 1n });
  // A new share leaves what was told.
  await client.startCanary({ name: 'scored', model: ADAPTER_2, weightPercent: 20 });
  for (const score of [0.8, 0.9, 1, 0.9, 0.9]) {
    await invoker.reportScore({ deployment: 'scored', model: ADAPTER, score });
  }
  for (const score of [0.9, 0.5, 0.5, 0.4]) {
    const { canaryRunning } = await invoker.reportScore({ deployment: 'scored', model: ADAPTER_2, score });
    expect(canaryRunning).toBe(true);
  }
  expect((await get('scored')).canary).toMatchObject({
    weightPercent: 20,
    canary: { scores: 4n, calls: 3n },
    stable: { scores: 5n },
  });
  const last = await invoker.reportScore({ deployment: 'scored', model: ADAPTER_2, score: 0.5 });
  expect(last.canaryRunning).toBe(false);
  expect((await get('scored')).canaryOutcome).toBe(
    `${ADAPTER_2} was given up: its 5 scores have a mean of 0.560, the stable model's 5 one of 0.900`,
  );
  await client.stopDeployment({ name: 'scored' });
});

test('canaries that can not be are refused; one that never answers gets no call', async (t) => {
  if (!mesh) return t.skip();
  const { client } = balancer;
  await client.deploy({ name: 'tried', model: ADAPTER, waitReady: true });
  const refused = { code: status.FAILED_PRECONDITION };
  const canary = (model: string) => client.startCanary({ name: 'tried', model, weightPercent: 50 });
  await expect(canary(ADAPTER)).rejects.toMatchObject(refused);
  await expect(canary('models:/unknown/1.0.0')).rejects.toMatchObject({ code: status.NOT_FOUND });
  await expect(client.promoteCanary({ name: 'tried' })).rejects.toMatchObject(refused);
  for (const weightPercent of [0, -1, 101, Number.NaN]) {
    await expect(
      client.startCanary({ name: 'tried', model: ADAPTER_2, weightPercent }),
    ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  }
  await canary(WRONG);
  const calls = keepCalling(mesh.balanced(balancer.address), 'tried', 'count 1');
  await until(() => calls.models.length >= 50);
  await calls.stop();
  expect(new Set(calls.models)).toEqual(new Set([ADAPTER]));
  expect(calls.failures).toEqual([]);
  await until(async () => (await get('tried')).canary!.message.startsWith(`${WRONG} can not be loaded`));
  const ended = await client.endCanary({ name: 'tried' });
  expect(ended.deployment!.canaryOutcome).toBe(`${WRONG} was ended`);
  await client.stopDeployment({ name: 'tried' });
});
