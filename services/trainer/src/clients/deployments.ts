import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { failedPrecondition, LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallOptions, RpcClient } from '@landfall/common/rpc/client.ts';
import type { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { type Deployment, DeploymentState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';

/** How long a deployment may take until it answers. */
const READY_MS = 300_000;
const POLL_MS = 300;

/** What the trainer asks of the balancer for a version that shall go live. */
export class DeploymentGateway {
  readonly #client: RpcClient<typeof BalancerService>;

  constructor(client: RpcClient<typeof BalancerService>) {
    this.#client = client;
  }

  /** A deployment that runs; undefined for one that was stopped or never was. */
  async find(name: string, options: CallOptions): Promise<Deployment | undefined> {
    try {
      const { deployment } = await this.#client.getDeployment({ name }, options);
      return deployment!.state === DeploymentState.STOPPED ? undefined : deployment;
    } catch (error) {
      if (error instanceof LandfallError && error.code === status.NOT_FOUND) return undefined;
      throw error;
    }
  }

  /** Replicas of the widest deployment of a base, whose replicas its adapters share; 1 where there is none. */
  async replicasOf(base: string, options: CallOptions): Promise<number> {
    const { deployments } = await this.#client.listDeployments({ base, pageSize: 500 }, options);
    return Math.max(1, ...deployments.map(({ replicas }) => replicas));
  }

  /**
   * Makes a deployment that serves a model, or has the one of that name serve it.
   *
   * @param requestId a repeat changes nothing, whatever the deployment serves by then
   */
  async serve(
    name: string,
    model: string,
    replicas: number,
    requestId: string,
    options: CallOptions,
  ): Promise<void> {
    const found = await this.find(name, options);
    if (found?.model === model) return;
    if (found) await this.#client.updateDeployment({ name, model, requestId }, options);
    else await this.#client.deploy({ name, model, replicas, requestId }, options);
  }

  /** @throws LandfallError NOT_FOUND for one that never was */
  async stop(name: string, options: CallOptions): Promise<void> {
    await this.#client.stopDeployment({ name }, options);
  }

  /** @throws LandfallError FAILED_PRECONDITION when it does not answer in time, with what stands in the way */
  async ready(name: string, model: string, signal: AbortSignal, options: CallOptions): Promise<void> {
    const startMs = Date.now();
    for (;;) {
      const found = await this.find(name, options);
      const serves = found?.model === model && found.state !== DeploymentState.PROGRESSING;
      if (serves) return;
      if (!found || Date.now() - startMs > READY_MS) {
        const why = found ? found.message || `it serves ${found.model}` : 'it was stopped';
        throw failedPrecondition(`the deployment '${name}' does not serve ${model}: ${why}`, {
          reason: 'NOT_DEPLOYED',
        });
      }
      await delay(POLL_MS, undefined, { signal });
    }
  }
}
