// A balancer and its replicas as far as an evaluation sees them, so that tests decide what is answered and what dies.

import { notFound, unavailable } from '@landfall/common/errors/errors.ts';
import type { IdentitySigner } from '@landfall/common/identity/signer.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { DeploymentState, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

/** What replicas answer. @param images that the question shows, encoded */
export type Answer = (model: string, question: string, images: readonly Uint8Array[]) => string;

/** The double and what it has seen. */
export interface FakeReplicas extends AsyncDisposable {
  /** `host:port` of the balancer. */
  address: string;
  /** Models that were loaded, in order. */
  loaded: string[];
  /** Models that answered, in order. */
  asked: string[];
  /** Bases that a deployment serves. */
  bases: Set<string>;
  /** The next questions to the first replica fail as if it had died. */
  failFirst: number;
  answer: Answer;
  /** Models by the names of their deployments, as they were declared. */
  deployments: Map<string, { model: string; replicas: number }>;
  /** Told of each deployment that is stopped. */
  stopped?: (name: string) => void;
}

export async function startFakeReplicas(signer: IdentitySigner, logger: Logger): Promise<FakeReplicas> {
  const servers = [0, 1].map(() => new RpcServer({ signer, logger }));
  const balancer = new RpcServer({ signer, logger });
  const fake: FakeReplicas = {
    address: '',
    loaded: [],
    asked: [],
    bases: new Set(),
    failFirst: 0,
    answer: () => '',
    deployments: new Map(),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...servers, balancer].map((server) => server.drain(0)));
    },
  };
  const addresses: string[] = [];
  for (const [index, server] of servers.entries()) {
    const adapters = new Set<string>();
    server.add(TextInferenceService, {
      loadAdapter: ({ model }) => {
        fake.loaded.push(model);
        adapters.add(model);
        return { model };
      },
      unloadAdapter: ({ model }) => ({ unloaded: adapters.delete(model) }),
      async *generate({ model, messages, prompt }) {
        if (index === 0 && fake.failFirst > 0) {
          fake.failFirst--;
          throw unavailable('the replica is stopping');
        }
        if (!fake.bases.has(model) && !adapters.has(model)) throw new Error(`${model} is not loaded`);
        fake.asked.push(model);
        const text = fake.answer(model, messages[0]?.content ?? prompt, messages[0]?.images ?? []);
        yield { model, delta: text.slice(0, 2) };
        yield { delta: text.slice(2), finishReason: FinishReason.STOP };
      },
    });
    addresses.push(`127.0.0.1:${await server.listen('127.0.0.1', 0)}`);
  }
  const deployment = (name: string) => {
    const found = fake.deployments.get(name);
    if (!found) throw notFound(`there is no deployment '${name}'`);
    return { deployment: { name, ...found, state: DeploymentState.READY } };
  };
  balancer.add(BalancerService, {
    listDeployments: ({ base }) => ({
      deployments: fake.bases.has(base) ? [{ name: 'd', base, replicas: 2 }] : [],
    }),
    getDeployment: ({ name }) => deployment(name),
    deploy: ({ name, model, replicas }) => {
      fake.deployments.set(name, { model, replicas });
      return deployment(name);
    },
    updateDeployment: ({ name, model }) => {
      fake.deployments.set(name, { ...deployment(name).deployment, model });
      return deployment(name);
    },
    stopDeployment: ({ name }) => {
      const found = deployment(name);
      fake.deployments.delete(name);
      fake.stopped?.(name);
      return found;
    },
    async *watchEndpoints({ model }, { signal }) {
      const endpoints = addresses.map((address) => ({ id: address, address, state: EndpointState.READY }));
      yield { endpoints, model, base: model, revision: 1n };
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  });
  fake.address = `127.0.0.1:${await balancer.listen('127.0.0.1', 0)}`;
  return fake;
}
