import { type Client, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { PromptAccessService } from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import { PromptEvaluationService } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import { PromptExperimentService } from '@landfall/proto/landfall/prompt/v1/experiment_service_pb.js';
import { PromptLibraryService } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { CatalogService } from '@landfall/proto/landfall/registry/v1/catalog_service_pb.js';
import { LifeCycleService } from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { CollectionService } from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import { InspectionService } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { ProfileService } from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { ReviewService } from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import { VisionInferenceService } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';

/** Every service of a mesh, through its gateway. */
export interface MeshClients {
  registry: Client<typeof RegistryService>;
  lifeCycle: Client<typeof LifeCycleService>;
  catalog: Client<typeof CatalogService>;
  trainer: Client<typeof TrainerService>;
  balancer: Client<typeof BalancerService>;
  prompt: Client<typeof PromptService>;
  promptAccess: Client<typeof PromptAccessService>;
  evaluation: Client<typeof PromptEvaluationService>;
  promptLibrary: Client<typeof PromptLibraryService>;
  experiments: Client<typeof PromptExperimentService>;
  text: Client<typeof TextInferenceService>;
  vision: Client<typeof VisionInferenceService>;
  inspections: Client<typeof InspectionService>;
  collections: Client<typeof CollectionService>;
  profiles: Client<typeof ProfileService>;
  reviews: Client<typeof ReviewService>;
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
    lifeCycle: createClient(LifeCycleService, transport),
    catalog: createClient(CatalogService, transport),
    trainer: createClient(TrainerService, transport),
    balancer: createClient(BalancerService, transport),
    prompt: createClient(PromptService, transport),
    promptAccess: createClient(PromptAccessService, transport),
    evaluation: createClient(PromptEvaluationService, transport),
    promptLibrary: createClient(PromptLibraryService, transport),
    experiments: createClient(PromptExperimentService, transport),
    text: createClient(TextInferenceService, transport),
    vision: createClient(VisionInferenceService, transport),
    inspections: createClient(InspectionService, transport),
    collections: createClient(CollectionService, transport),
    profiles: createClient(ProfileService, transport),
    reviews: createClient(ReviewService, transport),
  };
}
