import type { DescMethod } from '@bufbuild/protobuf';
import type { Kind } from '@landfall/common/identity/resources.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { AccessService } from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { ContentService } from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { IdentityService } from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { QuotaService } from '@landfall/proto/landfall/gateway/v1/quota_service_pb.js';
import { WebhookService } from '@landfall/proto/landfall/gateway/v1/webhook_service_pb.js';
import { PromptEvaluationService } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import { CatalogService } from '@landfall/proto/landfall/registry/v1/catalog_service_pb.js';
import { LifeCycleService } from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { CollectionService } from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import { InspectionService } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { ProfileService } from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { ReviewService } from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import { VisionInferenceService } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';

/** One list in a reply. */
export interface ShownList {
  /** Field of the reply that holds it. */
  field: string;
  /** What `name` stands for in an item. */
  own?: Kind;
  /** Fields of an item that count; without them all that name resources, at any depth. */
  only?: readonly string[];
}

/** Lists of which an item is shown where the caller may know of every resource that it is or names. */
export const FILTERED: ReadonlyMap<DescMethod, readonly ShownList[]> = new Map<
  DescMethod,
  readonly ShownList[]
>([
  [RegistryService.method.listModels, [{ field: 'models', own: 'models', only: ['name'] }]],
  [
    RegistryService.method.getLineage,
    [
      { field: 'nodes', only: ['ref'] },
      { field: 'edges', only: ['from', 'to'] },
    ],
  ],
  [LifeCycleService.method.listAliasPolicies, [{ field: 'policies', own: 'models', only: ['name'] }]],
  [CatalogService.method.searchVersions, [{ field: 'versions', own: 'models', only: ['name'] }]],
  [CatalogService.method.getStorage, [{ field: 'rows', own: 'models' }]],
  // A deployment whose model is closed to the caller answers them nothing.
  [
    BalancerService.method.listDeployments,
    [{ field: 'deployments', own: 'deployments', only: ['name', 'model'] }],
  ],
  [TrainerService.method.listJobs, [{ field: 'jobs', only: ['spec'] }]],
  [TrainerService.method.listTuningPlans, [{ field: 'plans', only: ['spec', 'deployment'] }]],
  [PromptEvaluationService.method.listTestSets, [{ field: 'testSets', only: ['source'] }]],
  [InspectionService.method.listReports, [{ field: 'reports' }]],
  [ReviewService.method.listReviews, [{ field: 'reviews' }]],
  [ProfileService.method.listProfiles, [{ field: 'profiles' }]],
  [CollectionService.method.listCollections, [{ field: 'collections', own: 'collections' }]],
  [QuotaService.method.listPrices, [{ field: 'prices' }]],
  [ContentService.method.listContentPolicies, [{ field: 'versions' }]],
]);

/** Why a list needs no filter here. */
export type Reason =
  /** The request names the resource that all of it is about, and the right on that decides. */
  | 'named'
  /** Nothing in it is or names a resource. */
  | 'nothing'
  /** For those who keep or audit the tenant, for whom nothing of it is hidden. */
  | 'office';

/** Lists that are shown as they come. Those of prompts, whose service decides on each itself, need not stand here. */
export const UNFILTERED: ReadonlyMap<DescMethod, Reason> = new Map<DescMethod, Reason>([
  [RegistryService.method.listVersions, 'named'],
  [LifeCycleService.method.listHistory, 'named'],
  [CatalogService.method.compareVersions, 'named'],
  [BalancerService.method.getDeployment, 'named'],
  [BalancerService.method.watchEndpoints, 'named'],
  [VisionInferenceService.method.search, 'named'],
  [ReviewService.method.listDecisions, 'nothing'],
  [ProfileService.method.listChanges, 'nothing'],
  [AdminService.method.listKeys, 'nothing'],
  [AdminService.method.searchAudit, 'office'],
  [AccessService.method.listRights, 'office'],
  [QuotaService.method.listQuotas, 'office'],
  [IdentityService.method.listRoles, 'nothing'],
  [IdentityService.method.listTenants, 'nothing'],
  [IdentityService.method.listMembers, 'nothing'],
  [IdentityService.method.listGroups, 'nothing'],
  [ContentService.method.listContentReviews, 'nothing'],
  [WebhookService.method.listWebhooks, 'nothing'],
]);
