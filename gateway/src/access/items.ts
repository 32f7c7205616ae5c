import type { DescMethodUnary } from '@bufbuild/protobuf';
import { type LandfallError, notFound } from '@landfall/common/errors/errors.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { ContentService } from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { PromptEvaluationService } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { InspectionService } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { ProfileService } from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { ReviewService } from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import { FILTERED, type ShownList } from './lists.ts';

/** A kind of things that requests name by an id, and that name resources themselves. */
export interface Item {
  /** The method that shows one. */
  read: DescMethodUnary;
  /** Its request. */
  request(id: string): object;
  /** Field of its reply that holds it. */
  field: string;
  /** What of it counts: the same as in its list. */
  shown: Pick<ShownList, 'own' | 'only'>;
  /** What its service says of one that is not there: of what is hidden the same is said. */
  missing(id: string): LandfallError;
}

const inList = (list: DescMethodUnary): Item['shown'] => FILTERED.get(list)![0]!;
const byId = (id: string) => ({ id });
const byName = (name: string) => ({ name });
const all: Item['shown'] = {};

export const job: Item = {
  read: TrainerService.method.getJob,
  request: byId,
  field: 'job',
  shown: inList(TrainerService.method.listJobs),
  missing: (id) =>
    notFound(`there is no job '${id}'; ListJobs lists them`, { reason: 'JOB_NOT_FOUND', metadata: { id } }),
};

export const plan: Item = {
  read: TrainerService.method.getTuningPlan,
  request: byId,
  field: 'plan',
  shown: inList(TrainerService.method.listTuningPlans),
  missing: (id) =>
    notFound(`there is no tuning plan '${id}'; ListTuningPlans lists them`, {
      ...{ reason: 'PLAN_NOT_FOUND', metadata: { id } },
    }),
};

export const report: Item = {
  read: InspectionService.method.getReport,
  request: byId,
  field: 'report',
  shown: inList(InspectionService.method.listReports),
  missing: (id) => notFound(`there is no report ${id}`, { reason: 'REPORT_NOT_FOUND' }),
};

export const batch: Item = {
  read: InspectionService.method.getBatch,
  request: byId,
  field: 'batch',
  // They have no list; their reports have one.
  shown: all,
  missing: (id) => notFound(`there is no batch ${id}`, { reason: 'BATCH_NOT_FOUND' }),
};

export const review: Item = {
  read: ReviewService.method.getReview,
  request: byId,
  field: 'review',
  shown: inList(ReviewService.method.listReviews),
  missing: (id) => notFound(`there is no review ${id}`, { reason: 'REVIEW_NOT_FOUND' }),
};

export const profile: Item = {
  read: ProfileService.method.getProfile,
  request: byName,
  field: 'profile',
  shown: inList(ProfileService.method.listProfiles),
  missing: (name) => notFound(`there is no profile '${name}'`, { reason: 'PROFILE_NOT_FOUND' }),
};

export const testSet: Item = {
  read: PromptEvaluationService.method.getTestSet,
  request: byName,
  field: 'testSet',
  shown: inList(PromptEvaluationService.method.listTestSets),
  missing: (name) => notFound(`there is no test set '${name}'`, { reason: 'TEST_SET_NOT_FOUND' }),
};

export const deployment: Item = {
  read: BalancerService.method.getDeployment,
  request: byName,
  field: 'deployment',
  shown: inList(BalancerService.method.listDeployments),
  missing: (name) =>
    notFound(`there is no deployment '${name}'; ListDeployments shows what is there`, {
      ...{ reason: 'DEPLOYMENT_NOT_FOUND', metadata: { name } },
    }),
};

export const contentPolicy: Item = {
  read: ContentService.method.getContentPolicy,
  request: (version) => ({ version: BigInt(version) }),
  field: 'version',
  shown: inList(ContentService.method.listContentPolicies),
  missing: (version) =>
    notFound(version === '0' ? 'no content policy is set' : `the content policy has no version ${version}`),
};
