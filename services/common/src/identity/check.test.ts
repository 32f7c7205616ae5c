import { create, type DescMethod } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { LifeCycleService } from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { WorkerService } from '@landfall/proto/landfall/trainer/v1/worker_service_pb.js';
import { expect, test } from 'vitest';
import { requireMethod, requireResources } from './check.ts';
import type { Identity } from './identity.ts';
import { resourcesOf } from './resources.ts';

const someone = (role: Role, more: Partial<Identity> = {}): Identity => ({
  ...{ subject: 'key:1', tenant: 'acme', role },
  ...more,
});
const right = (resource: string, level: Role, restricted = false) => ({ resource, level, restricted });
const { setAlias, createModel, getModel, uploadArtifact } = RegistryService.method;
const { deploy, listDeployments } = BalancerService.method;
const { generate } = TextInferenceService.method;

function codeOf(act: () => unknown): status | undefined {
  try {
    act();
    return undefined;
  } catch (cause) {
    return (cause as { code: status }).code;
  }
}

test('a caller of levels has in each area its own, and none where none is said', () => {
  const engineer = someone(Role.UNSPECIFIED, { levels: { registry: Role.EDITOR, balancer: Role.VIEWER } });
  expect(requireMethod(engineer, createModel).role).toBe(Role.EDITOR);
  expect(requireMethod(engineer, listDeployments).role).toBe(Role.VIEWER);
  expect(codeOf(() => requireMethod(engineer, deploy))).toBe(status.PERMISSION_DENIED);
  expect(codeOf(() => requireMethod(engineer, generate))).toBe(status.PERMISSION_DENIED);
  const name = 'landfall.text.v1.TextInferenceService/Generate';
  expect(requireMethod({ ...engineer, methods: [name] }, generate).role).toBe(Role.UNSPECIFIED);
  // Names of methods of every object are no areas.
  const odd = JSON.parse('{"constructor":4}') as Record<string, Role>;
  expect(codeOf(() => requireMethod(someone(0, { levels: odd }), createModel))).toBe(
    status.PERMISSION_DENIED,
  );
});

test('what a request names is found wherever it stands', () => {
  const named = (service: typeof TrainerService.method.createJob, init: object) =>
    resourcesOf(service, create(service.input, init as never));
  const job = {
    spec: {
      baseModel: 'models:/base/1.0.0',
      trainDataset: 'models:/rows@latest',
      outputModel: 'tuned',
      evaluation: { judgeModel: 'judge', earlierDatasets: ['models:/old/1.0.0', 'models:/older/1.0.0'] },
    },
  };
  const found = named(TrainerService.method.createJob, job);
  expect(found.filter(({ needed }) => needed === Role.EDITOR)).toEqual([
    { resource: 'models/tuned', needed: Role.EDITOR },
  ]);
  expect(found.map(({ resource }) => resource).sort()).toEqual(
    ['models/base', 'models/old', 'models/older', 'models/rows', 'models/tuned', 'deployments/judge'].sort(),
  );
  const header = create(uploadArtifact.input, {
    part: { case: 'header', value: { name: 'qa', version: '1.0.0', path: 'x' } },
  });
  expect(resourcesOf(uploadArtifact, header)).toEqual([{ resource: 'models/qa', needed: Role.EDITOR }]);
  const { setAliasPolicy } = LifeCycleService.method;
  const policy = create(setAliasPolicy.input, { policy: { name: 'qa', alias: 'production' } });
  expect(resourcesOf(setAliasPolicy, policy)).toMatchObject([{ resource: 'models/qa' }]);
  const canary = create(deploy.input, { name: 'qa', model: 'models:/qa@production' });
  expect(resourcesOf(deploy, canary)).toEqual([
    { resource: 'deployments/qa', needed: Role.EDITOR },
    { resource: 'models/qa', needed: Role.INVOKER },
  ]);
});

test('a grant opens one resource and no other, and no method that names none', () => {
  const viewer = someone(Role.VIEWER, { rights: [right('models/qa', Role.EDITOR)] });
  const alias = (name: string) =>
    create(setAlias.input, { name, alias: 'production', version: '1.0.0' } as never);
  const caller = requireMethod(viewer, setAlias);
  requireResources(caller, setAlias, alias('qa'));
  expect(codeOf(() => requireResources(caller, setAlias, alias('other')))).toBe(status.PERMISSION_DENIED);
  const { createJob } = TrainerService.method;
  const job = create(createJob.input, { spec: { baseModel: 'models:/qa/1.0.0' } } as never);
  expect(codeOf(() => requireResources(requireMethod(viewer, createJob), createJob, job))).toBe(
    status.PERMISSION_DENIED,
  );
  // No grant reaches what is for the mesh alone.
  for (const method of WorkerService.methods) {
    expect(codeOf(() => requireMethod(viewer, method))).toBe(status.PERMISSION_DENIED);
  }
});

test('what is restricted is not there for those without a grant, whatever their role but administrator', () => {
  const rights = [right('models/secret', Role.UNSPECIFIED, true), right('models/shown', Role.VIEWER, true)];
  const call = (role: Role, name: string, method: DescMethod = getModel) =>
    codeOf(() => {
      const caller = requireMethod(someone(role, { rights }), method);
      requireResources(caller, method, create(method.input, { name } as never));
    });
  expect(call(Role.EDITOR, 'secret')).toBe(status.NOT_FOUND);
  expect(call(Role.EDITOR, 'shown')).toBeUndefined();
  expect(call(Role.EDITOR, 'shown', setAlias)).toBe(status.PERMISSION_DENIED);
  expect(call(Role.EDITOR, 'free', setAlias)).toBeUndefined();
  expect(call(Role.ADMIN, 'secret')).toBeUndefined();
});

test('scopes leave of their kind only what they name, for administrators too', () => {
  const scoped = someone(Role.ADMIN, { scopes: ['deployments/qa'] });
  const call = (model: string) =>
    codeOf(() => requireResources(scoped, generate, create(generate.input, { model, prompt: 'x' } as never)));
  expect(call('qa')).toBeUndefined();
  expect(call('other')).toBe(status.NOT_FOUND);
  expect(call('models:/any/1.0.0')).toBeUndefined();
});
