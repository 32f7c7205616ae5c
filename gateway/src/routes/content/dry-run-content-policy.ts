import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { ContentReviewState } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import {
  type DryRunContentPolicyRequest,
  type DryRunContentPolicyResponse,
  DryRunContentPolicyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { type Invocation, LogContent } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { InvokeRequestSchema, PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { DryRun } from '../../content/dry-run.ts';
import { asRole, CompiledPolicy } from '../../content/policy.ts';
import { textsIn } from '../../content/texts.ts';
import type { GatewayContext, OwnStream } from '../../context.ts';
import { ContentReviewSchema, type KeptContentReview } from '../../db/content-entities.ts';

const ROUTE = 'landfall.prompt.v1.PromptService/Invoke';
const DEFAULT_LIMIT = 1000;
const PAGE = 100;
const MOST_REVIEWS = 1000;

export const dryRunContentPolicy: OwnStream<DryRunContentPolicyRequest, DryRunContentPolicyResponse> = (
  context,
) =>
  async function* (request, caller, signal) {
    const draft = new CompiledPolicy(request.policy!, 0);
    const inForce = await context.contentPolicies.of(caller.tenant);
    const who = asRole(request.role, caller);
    const decided = (route: string) => ({
      before: inForce?.decide([route], who),
      after: draft.decide([route], who),
    });
    const run = new DryRun();
    let [invocations, withoutText] = [0, 0];
    for await (const page of pagesOf(context, request, caller, signal)) {
      for (const { id, content, variables, output } of page) {
        invocations++;
        if (content === LogContent.NONE) {
          withoutText++;
          continue;
        }
        const asked = create(InvokeRequestSchema, variables ? { variables } : {});
        const both = { id, ...decided(ROUTE) };
        run.add({ ...both, ofAnswer: false, texts: textsIn(InvokeRequestSchema, asked) });
        if (output !== '') run.add({ ...both, ofAnswer: true, texts: [output] });
      }
      yield create(DryRunContentPolicyResponseSchema, { invocations, withoutText });
    }
    const reviews = await reviewsOf(context, request, caller);
    for (const { id, route, ofAnswer, texts, answerTexts } of reviews) {
      const both = { id, ...decided(route) };
      run.add({ ...both, ofAnswer: false, texts: JSON.parse(texts) as string[] });
      if (ofAnswer) run.add({ ...both, ofAnswer: true, texts: JSON.parse(answerTexts) as string[] });
    }
    if (invocations === withoutText && reviews.length === 0) throw noText(invocations);
    const report = { ...run.report, reviews: reviews.length, version: BigInt(inForce?.version ?? 0) };
    yield create(DryRunContentPolicyResponseSchema, { invocations, withoutText, report });
  };

function noText(invocations: number) {
  const message =
    invocations === 0
      ? 'no invocations of prompts are kept for this time, and no call waits for review: there is no traffic to run a policy over'
      : `the log keeps no text of these ${invocations} invocations (SetLogPolicy decides what it keeps), and no call waits for review`;
  return failedPrecondition(message, {
    reason: 'NO_KEPT_TEXT',
    metadata: { invocations: String(invocations) },
  });
}

/** What the log keeps and the caller may see, newest first. */
async function* pagesOf(
  { channels }: GatewayContext,
  { startTime, endTime, prompt, limit }: DryRunContentPolicyRequest,
  identity: Identity,
  signal: AbortSignal,
): AsyncGenerator<readonly Invocation[]> {
  const client = channels.prompt.client(PromptService);
  let left = limit || DEFAULT_LIMIT;
  let pageToken = '';
  do {
    const page = await client.listInvocations(
      {
        ...{ pageSize: Math.min(PAGE, left), pageToken, name: prompt },
        ...(startTime ? { startTime } : {}),
        ...(endTime ? { endTime } : {}),
      },
      { identity, signal },
    );
    yield page.invocations;
    left -= page.invocations.length;
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && left > 0);
}

/** Calls that nobody has decided on: only their texts are still there. */
function reviewsOf(
  { database }: GatewayContext,
  { startTime, endTime, prompt }: DryRunContentPolicyRequest,
  { tenant }: Identity,
): Promise<KeptContentReview[]> {
  // Which prompt a call was for is not kept with its review.
  if (prompt !== '') return Promise.resolve([]);
  const createdMs = {
    ...(startTime ? { $gte: timestampMs(startTime) } : {}),
    ...(endTime ? { $lt: timestampMs(endTime) } : {}),
  };
  const where = {
    ...{ tenant, state: ContentReviewState.PENDING, expiresMs: { $gt: Date.now() } },
    ...(startTime || endTime ? { createdMs } : {}),
  };
  return database.read((em) =>
    em.find(ContentReviewSchema, where, { orderBy: { id: 'desc' }, limit: MOST_REVIEWS }),
  );
}
