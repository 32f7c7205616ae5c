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

export const nothingToUndo = (name: string, generation: number): LandfallError => {
  const what = generation > 0 ? `generation ${generation} of` : 'anything else that was served before by';
  return failedPrecondition(
    `${what} the deployment '${name}' is not known; GetDeployment lists its history`,
    {
      reason: 'NOTHING_TO_UNDO',
      metadata: { name },
    },
  );
};

export const noCanary = (name: string): LandfallError =>
  failedPrecondition(`the deployment '${name}' has no canary; StartCanary begins one`, {
    reason: 'NO_CANARY',
    metadata: { name },
  });

export const canaryRefused = (name: string, why: string): LandfallError =>
  failedPrecondition(`the deployment '${name}' can not have this canary: ${why}`, {
    reason: 'CANARY_REFUSED',
    metadata: { name },
  });

export const unknownRuntime = (runtime: string): LandfallError =>
  failedPrecondition(`replicas can not run in '${runtime}' here; give child_process`, {
    reason: 'RUNTIME_UNKNOWN',
    metadata: { runtime },
  });

export const overflowRefused = (name: string, why: string): LandfallError =>
  failedPrecondition(`requests can not go on to the deployment '${name}': ${why}`, {
    reason: 'OVERFLOW_REFUSED',
    metadata: { name },
  });

export const noRange = (): LandfallError =>
  invalidArgument('min_replicas', 'is more than max_replicas would be');
