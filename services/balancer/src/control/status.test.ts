import { expect, test } from 'vitest';
import type { Deployment } from '../db/entities.ts';
import { deploymentStatus, statusDiffers } from './status.ts';

const declared = {
  tenant: 'acme',
  name: 'qa',
  model: 'models:/a/1.0.0',
  base: 'models:/b/1.0.0',
  nextModel: '',
  nextBase: '',
  nextVariant: '',
  variant: '',
  maxSurge: 0,
  maxUnavailable: 0,
  paused: false,
  replicas: 2,
  readyReplicas: 0,
  state: 'progressing',
  wasReady: false,
  message: '',
  revision: 1,
  createdMs: 0,
} as Deployment;
const supply = (ready: number, problem = '', copies = Number.POSITIVE_INFINITY) => ({
  answering: ready,
  ready,
  running: 2,
  copies,
  problem,
});

test('it progresses until as many answer as were asked for, and is degraded when one is lost after that', () => {
  expect(deploymentStatus(declared, supply(1), undefined)).toMatchObject({
    state: 'progressing',
    message: '1 of 2 replicas answer',
  });
  const ready = deploymentStatus(declared, supply(2), undefined);
  expect(ready).toMatchObject({ state: 'ready', wasReady: true, message: '', readyReplicas: 2 });
  const lost = deploymentStatus({ ...declared, ...ready }, supply(1, 'it ends'), undefined);
  expect(lost).toMatchObject({ state: 'degraded', message: 'it ends', readyReplicas: 1 });
});

test('a new model takes over when as many replicas answer for it as are wanted', () => {
  const switching = { ...declared, nextModel: 'models:/a/2.0.0', nextBase: 'models:/c/1.0.0' };
  expect(deploymentStatus(switching, supply(2), supply(1))).toMatchObject({
    state: 'progressing',
    model: 'models:/a/1.0.0',
    nextModel: 'models:/a/2.0.0',
    readyReplicas: 2,
  });
  expect(deploymentStatus(switching, supply(2), supply(2))).toMatchObject({
    state: 'ready',
    model: 'models:/a/2.0.0',
    base: 'models:/c/1.0.0',
    nextModel: '',
    nextBase: '',
  });
});

test('a status that stands is not written again', () => {
  const ready = deploymentStatus(declared, supply(2), undefined);
  expect(statusDiffers(declared, ready)).toBe(true);
  expect(statusDiffers({ ...declared, ...ready }, ready)).toBe(false);
});

test('a rollout that is held does not take over; one that may miss a replica takes over with it missing', () => {
  const switching = { ...declared, nextModel: 'models:/a/2.0.0', nextBase: 'models:/c/1.0.0' };
  expect(deploymentStatus({ ...switching, paused: true }, supply(2), supply(2))).toMatchObject({
    state: 'progressing',
    model: 'models:/a/1.0.0',
    message: expect.stringContaining('ResumeDeployment'),
  });
  expect(deploymentStatus({ ...switching, maxUnavailable: 1 }, supply(1), supply(1))).toMatchObject({
    state: 'progressing',
    model: 'models:/a/2.0.0',
    nextModel: '',
  });
});

test('an adapter that is on fewer replicas than there are is ready there; one without a place never is', () => {
  expect(deploymentStatus(declared, { ...supply(1, '', 1), answering: 2 }, undefined).state).toBe('ready');
  expect(deploymentStatus(declared, { ...supply(1, '', 1), answering: 1 }, undefined).state).not.toBe(
    'ready',
  );
  expect(deploymentStatus(declared, { ...supply(0, 'full', 0), answering: 2 }, undefined)).toMatchObject({
    state: 'progressing',
    message: 'full',
  });
  const switching = { ...declared, nextModel: 'models:/a/2.0.0', nextBase: 'models:/b/1.0.0' };
  expect(deploymentStatus(switching, supply(2), supply(0, 'full', 0)).model).toBe('models:/a/1.0.0');
});

test('one that sleeps is ready, and says so', () => {
  const asleep = { ...declared, replicas: 0, wasReady: true };
  expect(deploymentStatus(asleep, supply(0), undefined)).toMatchObject({
    state: 'ready',
    readyReplicas: 0,
    message: 'it sleeps until a caller asks',
  });
});
