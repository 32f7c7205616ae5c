import { create, type DescMethod, type DescMethodUnary, type Message } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { knowsAll, requireResource } from '@landfall/common/identity/check.ts';
import { type Identity, roleReaches } from '@landfall/common/identity/identity.ts';
import { namedIn } from '@landfall/common/identity/resources.ts';
import { ruleOf } from '@landfall/common/identity/rule.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { AccessService } from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { ContentService } from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { EventService } from '@landfall/proto/landfall/gateway/v1/event_service_pb.js';
import { IdentityService } from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { WebhookService } from '@landfall/proto/landfall/gateway/v1/webhook_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { PromptEvaluationService } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { InspectionService } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { ProfileService } from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { ReviewService } from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import { VisionInferenceService } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import {
  batch,
  contentPolicy,
  deployment,
  type Item,
  job,
  plan,
  profile,
  report,
  review,
  testSet,
} from './items.ts';

/** Calls a method that shows an item, in the gateway's own name: what it shows decides, and is not passed on. */
export type ReadItem = (
  method: DescMethodUnary,
  request: Message,
  tenant: string,
  signal: AbortSignal,
) => Promise<Message>;

/** What a method is about, by an id. */
interface About {
  item: Item;
  /** Where the id stands in its request: `id`, or `requests.profile` for one in each of several. */
  path: string;
  /** Where a text may name other things too: what the id is within it. */
  form?: RegExp;
}

const { method: trainer } = TrainerService;
const { method: inspection } = InspectionService;
const { method: reviews } = ReviewService;
const { method: profiles } = ProfileService;
const { method: balancer } = BalancerService;
const { method: vision } = VisionInferenceService;
const about = (item: Item, path: string, ...methods: DescMethod[]) =>
  methods.map((method) => [method, { item, path }] as const);
/** Rows of a test set, or of a data set, which the request then names itself. */
const rows: About = { item: testSet, path: 'dataset', form: /^tests:\/([^/@]+)/ };

/** Methods whose request names something by its id that names resources itself. */
export const BY_ID: ReadonlyMap<DescMethod, About> = new Map<DescMethod, About>([
  ...about(job, 'id', trainer.getJob, trainer.watchJob, trainer.cancelJob),
  ...about(plan, 'id', trainer.getTuningPlan, trainer.watchTuningPlan, trainer.cancelTuningPlan),
  ...about(report, 'id', inspection.getReport, inspection.getReportImage, inspection.explainReport),
  ...about(batch, 'id', inspection.getBatch, inspection.watchBatch, inspection.cancelBatch),
  ...about(review, 'id', reviews.getReview, reviews.claimReview, reviews.releaseReview, reviews.decideReview),
  ...about(review, 'id', reviews.listDecisions),
  ...about(profile, 'name', profiles.getProfile, profiles.putProfile, profiles.deleteProfile),
  ...about(profile, 'name', profiles.calibrateProfile),
  ...about(profile, 'profile', inspection.getStatistics, inspection.startBatch, reviews.exportCorrections),
  ...about(profile, 'profile', vision.inspect),
  ...about(profile, 'requests.profile', vision.inspectStream),
  ...about(testSet, 'name', PromptEvaluationService.method.getTestSet),
  ...about(testSet, 'name', PromptEvaluationService.method.listTestSetRows),
  [PromptService.method.evaluatePrompt, rows],
  [PromptService.method.optimizePrompt, rows],
  // Their requests name the deployment; what it serves may be closed to those to whom it is open.
  ...about(deployment, 'name', balancer.getDeployment, balancer.updateDeployment, balancer.stopDeployment),
  ...about(deployment, 'name', balancer.pauseDeployment, balancer.resumeDeployment, balancer.undoDeployment),
  ...about(deployment, 'name', balancer.startCanary, balancer.promoteCanary, balancer.endCanary),
  ...about(contentPolicy, 'version', ContentService.method.getContentPolicy),
]);

/** Why a method whose request names no resource is not asked what it is about. */
export type Excuse =
  /** For those who keep the tenant, for whom nothing of it is hidden. */
  | 'office'
  /** It is about calls, callers and texts: of reviews of content, say, which are for their caller and reviewers. */
  | 'nothing'
  /** It tells of whatever happens in the tenant, and leaves out itself what its caller may not know of. */
  | 'stream';

const { method: admin } = AdminService;
const { method: identity } = IdentityService;
const { method: content } = ContentService;
const { method: access } = AccessService;
const { method: webhooks } = WebhookService;
const excused = (excuse: Excuse, ...methods: DescMethod[]) =>
  methods.map((method) => [method, excuse] as const);

/** Those that are excused. Methods of prompts, whose service decides on each itself, need not stand here. */
export const EXCUSED: ReadonlyMap<DescMethod, Excuse> = new Map<DescMethod, Excuse>([
  ...excused('office', admin.createKey, admin.revokeKey, admin.rotateKey, admin.setPolicy),
  ...excused('office', identity.createTenant, identity.updateTenant, identity.setMember, identity.getMember),
  ...excused('office', identity.deleteMember, identity.setGroup, identity.deleteGroup),
  ...excused('office', content.activateContentPolicy),
  ...excused('office', access.grantRight, access.revokeRight, access.restrictResource),
  ...excused('office', webhooks.createWebhook, webhooks.rotateWebhookSecret, webhooks.deleteWebhook),
  ...excused('nothing', admin.whyAllowed),
  ...excused('nothing', content.getContentReview, content.claimContentReview, content.decideContentReview),
  ...excused('stream', EventService.method.watchEvents),
]);

/** Ids in a request of what has to be looked at before it is let go on; none where the reply itself will show it. */
export function idsIn(method: DescMethod, request: Message): readonly string[] {
  const found = BY_ID.get(method);
  return !found || found.item.read === method ? [] : idsAt(found, request);
}

/**
 * Whether a caller may do with what a request names by its ids what the method does. Of what is not there its service is
 * left to speak.
 * @throws LandfallError NOT_FOUND where they may not know of it, as its list does not show it; PERMISSION_DENIED where
 * they may know of it, and need a stronger right on something that it names
 */
export async function requireById(
  caller: Identity,
  method: DescMethod,
  ids: readonly string[],
  read: ReadItem,
  signal: AbortSignal,
): Promise<void> {
  const { item } = BY_ID.get(method)!;
  for (const id of new Set(ids)) {
    const request = create(item.read.input, item.request(id) as never);
    const reply = await read(item.read, request, caller.tenant, signal).catch((cause: unknown) => {
      if (cause instanceof LandfallError && ABSENT.has(cause.code)) return undefined;
      throw cause;
    });
    if (reply) requireItem(caller, method, item, id, reply);
  }
}

/** That the reply of a method which shows an item may be shown. @throws LandfallError NOT_FOUND */
export function requireShown(caller: Identity, method: DescMethod, request: Message, reply: Message): void {
  const found = BY_ID.get(method);
  if (found?.item.read !== method) return;
  requireItem(caller, method, found.item, idsAt(found, request)[0] ?? '', reply);
}

/** What a service says of an id that is none, or of nothing. */
const ABSENT: ReadonlySet<status> = new Set([status.NOT_FOUND, status.INVALID_ARGUMENT]);

function requireItem(caller: Identity, method: DescMethod, item: Item, id: string, reply: Message): void {
  const { own, only } = item.shown;
  const held = (reply as Fields)[item.field] as Message | undefined;
  const shape = item.read.output.fields.find(({ localName }) => localName === item.field)!.message!;
  if (!held) return;
  const { needed } = ruleOf(method);
  const named = namedIn(shape, held, needed, own, only);
  if (
    !knowsAll(
      caller,
      named.map(({ resource }) => resource),
    )
  )
    throw item.missing(id);
  if (roleReaches(Role.VIEWER, needed)) return;
  for (const each of named) requireResource(caller, each);
}

type Fields = Message & Record<string, unknown>;

function idsAt({ path, form }: About, request: Message): string[] {
  let values: unknown[] = [request];
  for (const part of path.split('.')) values = values.flatMap((value) => (value as Fields)[part] ?? []);
  const texts = values.map(String).filter((text) => text !== '');
  return form ? texts.flatMap((text) => form.exec(text)?.[1] ?? []) : texts;
}
