/** A balancer that says what it is told to, and replicas that answer what they are told to: real gRPC servers here. */

import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { BalancedClient, type BalancedClientOptions } from '@landfall/common/balancing/balanced-client.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import {
  BalancerService,
  type ReportOutcomesRequest,
} from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import {
  type GenerateRequest,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterEach } from 'vitest';

export const signer = new IdentitySigner(randomBytes(48));
export const logger = createLogger('test', 'silent');
export const identity = { subject: 'key:1', tenant: 'acme', role: Role.INVOKER };
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export type Answer = (request: GenerateRequest, call: CallContext) => AsyncIterable<object>;

export interface TestReplica {
  id: string;
  address: string;
  asked: GenerateRequest[];
  answer: Answer;
  /** Asked for its load. */
  loads: number;
  /** Before its load is told. */
  beforeLoad: () => Promise<void>;
  server: RpcServer;
}

export const MODEL = 'models:/qa/1.0.0';

export async function* fine(): AsyncGenerator<object> {
  yield { model: MODEL };
  yield { delta: 'fine', finishReason: FinishReason.STOP };
}

export async function replica(id: string, answer: Answer = fine): Promise<TestReplica> {
  const server = new RpcServer({ signer, logger });
  const self: TestReplica = {
    id,
    address: '',
    asked: [],
    answer,
    loads: 0,
    beforeLoad: async () => {},
    server,
  };
  server.add(TextInferenceService, {
    async *generate(request, call) {
      self.asked.push(request);
      yield* self.answer(request, call) as AsyncIterable<never>;
    },
    async getLoad() {
      self.loads++;
      await self.beforeLoad();
      return { load: { running: 3 } };
    },
  });
  self.address = `127.0.0.1:${await server.listen('127.0.0.1', 0)}`;
  cleanups.push(() => server.drain(0));
  return self;
}

/** A balancer whose list is what it is told; each watcher hears of every change. */
export class TestBalancer {
  readonly server = new RpcServer({ signer, logger });
  watchers = 0;
  opened = 0;
  subjects: string[] = [];
  reports: ReportOutcomesRequest[] = [];
  #list: object[] = [];
  #more: object = {};
  #refusal: Error | undefined;
  #changed = Promise.withResolvers<void>();
  address = '';

  async start(port = 0): Promise<this> {
    const self = this;
    this.server.add(BalancerService, {
      async *watchEndpoints(_request, call) {
        self.watchers++;
        self.opened++;
        self.subjects.push(`${call.identity.subject}@${call.identity.tenant}`);
        try {
          while (!call.signal.aborted) {
            if (self.#refusal) throw self.#refusal;
            const changed = self.#changed.promise;
            yield { endpoints: self.#list, model: MODEL, base: 'models:/base/1.0.0', ...self.#more } as never;
            const gone = new Promise<void>((resolve) =>
              call.signal.addEventListener('abort', () => resolve(), { once: true }),
            );
            await Promise.race([changed, gone]);
          }
        } finally {
          self.watchers--;
        }
      },
      reportOutcomes(request) {
        self.reports.push(request);
        return { canaryRunning: true };
      },
    });
    this.address = `127.0.0.1:${await this.server.listen('127.0.0.1', port)}`;
    cleanups.push(() => this.server.drain(0));
    return this;
  }

  /** @param more canary and overflow */
  tell(list: [TestReplica, EndpointState?, object?][], more: object = {}): void {
    this.#list = list.map((each) => endpointOf(...each));
    this.#more = more;
    this.#wake();
  }

  refuse(error: Error | undefined): void {
    this.#refusal = error;
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

export function balancedClient(
  balancer: TestBalancer,
  more: Partial<BalancedClientOptions> = {},
): BalancedClient {
  const rpc = { signer, identity };
  const options = { balancerUrl: balancer.address, service: 'test', rpc, logger, ...more };
  const client = new BalancedClient(options);
  cleanups.push(() => client[Symbol.asyncDispose]());
  return client;
}

export function endpointOf(
  { id, address }: TestReplica,
  state: EndpointState = EndpointState.READY,
  more: object = {},
): object {
  return { id, address, state, weight: 1, adapterLoaded: true, ...more };
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(5);
}
