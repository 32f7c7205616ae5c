import { type DescMethod, type DescService, getOption } from '@bufbuild/protobuf';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { AccessService } from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { CacheService } from '@landfall/proto/landfall/gateway/v1/cache_service_pb.js';
import { ContentService } from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { EventService } from '@landfall/proto/landfall/gateway/v1/event_service_pb.js';
import { IdentityService } from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { QuotaService } from '@landfall/proto/landfall/gateway/v1/quota_service_pb.js';
import { WebhookService } from '@landfall/proto/landfall/gateway/v1/webhook_service_pb.js';
import { Role, role as roleOption } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { PromptAccessService } from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import { PromptDraftService } from '@landfall/proto/landfall/prompt/v1/draft_service_pb.js';
import { PromptEvaluationService } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import { PromptExperimentService } from '@landfall/proto/landfall/prompt/v1/experiment_service_pb.js';
import { PromptLibraryService } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import { PromptLogService } from '@landfall/proto/landfall/prompt/v1/log_service_pb.js';
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

/** Where calls of a service go. */
export type Destination = 'registry' | 'trainer' | 'balancer' | 'prompt' | 'vision' | 'replicas' | 'gateway';

/** Everything that the gateway serves; what is not here does not exist for the outside. */
export const publicServices: readonly (readonly [DescService, Destination])[] = [
  [RegistryService, 'registry'],
  [LifeCycleService, 'registry'],
  [CatalogService, 'registry'],
  [TrainerService, 'trainer'],
  [BalancerService, 'balancer'],
  [PromptService, 'prompt'],
  [PromptExperimentService, 'prompt'],
  [PromptLogService, 'prompt'],
  [PromptDraftService, 'prompt'],
  [PromptLibraryService, 'prompt'],
  [PromptEvaluationService, 'prompt'],
  [PromptAccessService, 'prompt'],
  [TextInferenceService, 'replicas'],
  [VisionInferenceService, 'vision'],
  [InspectionService, 'vision'],
  [ProfileService, 'vision'],
  [ReviewService, 'vision'],
  [CollectionService, 'vision'],
  [AdminService, 'gateway'],
  [IdentityService, 'gateway'],
  [QuotaService, 'gateway'],
  [ContentService, 'gateway'],
  [CacheService, 'gateway'],
  [EventService, 'gateway'],
  [WebhookService, 'gateway'],
  [AccessService, 'gateway'],
];

/** Public methods by `package.Service/Method`. Those for services of the mesh alone are left out. */
export const publicMethods: ReadonlyMap<string, DescMethod> = new Map(
  publicServices
    .flatMap(([service]) => service.methods)
    .filter((method) => getOption(method, roleOption) !== Role.SERVICE)
    .map((method) => [`${method.parent.typeName}/${method.name}`, method]),
);

/** Whether a path takes a stream of messages, whose sender may pause between them. */
export function takesStream(path: string): boolean {
  const kind = publicMethods.get(path.slice(1))?.methodKind;
  return kind === 'client_streaming' || kind === 'bidi_streaming';
}
