/** What stands behind the gateway of the bench, in a process of its own: `gateway-upstream.ts KEYFILE`. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import {
  type GenerateRequest,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

const MODEL = 'models:/qa/1.0.0';
const signer = new IdentitySigner(readFileSync(process.argv[2]!));
const server = new RpcServer({ signer, logger: createLogger('upstream', 'error') });
let address = '';

/** As many tokens as are asked for, every `topK` milliseconds (0: at once), so that no model is measured. */
async function* generate({ sampling }: GenerateRequest, { signal }: CallContext) {
  const tokens = sampling?.maxTokens ?? 1;
  const everyMs = sampling?.topK ?? 0;
  const start = performance.now();
  for (let i = 0; i < tokens; i++) {
    if (everyMs > 0) await delay(Math.max(0, start + i * everyMs - performance.now()), undefined, { signal });
    yield { delta: i % 2 ? '血压' : ' is' };
  }
  yield { finishReason: FinishReason.STOP, usage: { inputTokens: 300, outputTokens: tokens } };
}

server.add(TextInferenceService, { generate });
server.add(RegistryService, {
  listModels: () => ({ models: [{ name: 'qa', description: 'x'.repeat(64) }] }),
});
server.add(PromptService, {});
server.add(BalancerService, {
  listDeployments: () => ({ deployments: [{ name: 'qa', model: MODEL, base: MODEL }] }),
  async *watchEndpoints(_request, { signal }) {
    const endpoints = [{ id: 'r1', address, state: EndpointState.READY, weight: 1 }];
    yield { endpoints, model: MODEL, base: MODEL, revision: 1n };
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  },
});
const port = await server.listen('127.0.0.1', 0);
address = `127.0.0.1:${port}`;
server.health.set('readiness', true);
process.send!({ port });
process.once('SIGTERM', () => void server.drain(100).then(() => process.connected && process.disconnect()));
