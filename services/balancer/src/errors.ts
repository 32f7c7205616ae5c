import {
  alreadyExists,
  failedPrecondition,
  invalidArgument,
  type LandfallError,
  notFound,
  unavailable,
} from '@landfall/common/errors/errors.ts';

export const deploymentNotFound = (name: string): LandfallError =>
  notFound(`there is no deployment '${name}'; ListDeployments shows what is there`, {
    reason: 'DEPLOYMENT_NOT_FOUND',
    metadata: { name },
  });

export const deploymentStopped = (name: string): LandfallError =>
  notFound(`the deployment '${name}' was stopped; Deploy it again`, {
    reason: 'DEPLOYMENT_STOPPED',
    metadata: { name },
  });

export const deploymentExists = (name: string): LandfallError =>
  alreadyExists(`a deployment '${name}' exists already; change it with UpdateDeployment, or stop it first`, {
    reason: 'DEPLOYMENT_EXISTS',
    metadata: { name },
  });

export const modelNotReady = (ref: string): LandfallError =>
  failedPrecondition(`${ref} is still a draft; commit it in the registry first`, {
    reason: 'MODEL_NOT_READY',
    metadata: { model: ref },
  });

export const notServable = (ref: string): LandfallError =>
  failedPrecondition(`${ref} is a data set; deploy a base model or an adapter`, {
    reason: 'MODEL_NOT_SERVABLE',
    metadata: { model: ref },
  });

export const adapterWithoutBase = (ref: string): LandfallError =>
  failedPrecondition(`the lineage of ${ref} names no base that could serve it`, {
    reason: 'ADAPTER_WITHOUT_BASE',
    metadata: { model: ref },
  });

export const badReference = (field: string, ref: string): LandfallError =>
  invalidArgument(
    field,
    `${JSON.stringify(ref.slice(0, 80))} is no model; write models:/name/1.0.0 or models:/name@alias`,
  );

export const noEndpoint = (what: string): LandfallError =>
  unavailable(`no replica of ${what} answers; GetDeployment tells why`, {
    reason: 'NO_ENDPOINT',
    retryAfterMs: 1000,
  });

export const draining = (): LandfallError =>
  unavailable('the balancer is stopping', { reason: 'DRAINING', retryAfterMs: 1000 });
