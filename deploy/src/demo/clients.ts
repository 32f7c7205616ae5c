import { type Client, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';

/** Every service of a mesh, through its gateway. */
export interface MeshClients {
  registry: Client<typeof RegistryService>;
  trainer: Client<typeof TrainerService>;
  balancer: Client<typeof BalancerService>;
  prompt: Client<typeof PromptService>;
  text: Client<typeof TextInferenceService>;
}

/** Connect clients as any outside program would make them: a base URL and an API key. */
export function connectMesh(gateway: string, apiKey: string): MeshClients {
  const authenticate: Interceptor = (next) => (request) => {
    request.header.set('authorization', `Bearer ${apiKey}`);
    return next(request);
  };
  const transport = createConnectTransport({
    baseUrl: gateway,
    httpVersion: '2',
    useBinaryFormat: true,
    interceptors: [authenticate],
  });
  return {
    registry: createClient(RegistryService, transport),
    trainer: createClient(TrainerService, transport),
    balancer: createClient(BalancerService, transport),
    prompt: createClient(PromptService, transport),
    text: createClient(TextInferenceService, transport),
  };
}
