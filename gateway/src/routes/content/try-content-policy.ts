import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { invalidArgument, notFound } from '@landfall/common/errors/errors.ts';
import type { Finding } from '@landfall/masking/mask.ts';
import { PersonalDataAction } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import {
  type TryContentPolicyRequest,
  type TryContentPolicyResponse,
  type TryContentPolicyResponse_OutcomeSchema,
  TryContentPolicyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import type { Check } from '../../content/check.ts';
import { asRole, CompiledPolicy } from '../../content/policy.ts';
import { Pseudonyms, Vault } from '../../content/pseudonyms.ts';
import type { GatewayContext, OwnRoute } from '../../context.ts';

const MOST_CHARACTERS = 1024 * 1024;

export const tryContentPolicy: OwnRoute<TryContentPolicyRequest, TryContentPolicyResponse> =
  (context) => async (request, caller) => {
    const { texts, route, answers } = request;
    if (texts.reduce((sum, text) => sum + text.length, 0) > MOST_CHARACTERS) {
      throw invalidArgument('texts', 'are more than 1 MiB together; try fewer at a time');
    }
    const policy = await policyOf(context, request, caller.tenant);
    const decision = policy.decide([route], asRole(request.role, caller));
    const check = answers ? decision.answers : decision.requests;
    const names = new Pseudonyms(context.pseudonymKey, caller.tenant, policy.generation);
    const vault = answers ? undefined : new Vault(names);
    const outcomes = texts.map((text) => outcomeOf(text, check, vault));
    const changed = outcomes.filter(
      ({ text, blocked, flagged }, i) => blocked || flagged || text !== texts[i],
    ).length;
    return create(TryContentPolicyResponseSchema, { outcomes, changed });
  };

async function policyOf(
  { contentPolicies }: GatewayContext,
  request: TryContentPolicyRequest,
  tenant: string,
) {
  if (request.policy) return new CompiledPolicy(request.policy, 0);
  const inForce = await contentPolicies.of(tenant);
  if (!inForce) throw notFound('no content policy is set; give one to try');
  return inForce;
}

function outcomeOf(
  text: string,
  check: Check | undefined,
  vault: Vault | undefined,
): MessageInitShape<typeof TryContentPolicyResponse_OutcomeSchema> {
  if (!check) return { text };
  const { blocked, flagged, text: passed } = check.sift(text, vault);
  return {
    text: passed,
    blocked: blocked.length > 0,
    flagged: blocked.length === 0 && flagged.length > 0,
    findings: [
      ...check.find(text).map((one) => ({ ...one, action: check.actionOn(one.type) })),
      ...(check.sieve?.find(text) ?? []).map(({ name, action, ...one }) => ({
        ...one,
        type: name,
        action: action === 'block' ? PersonalDataAction.BLOCK : PersonalDataAction.MASK,
      })),
    ]
      .sort((a, b) => a.start - b.start)
      .map(({ start, end, ...one }) => ({ ...one, ...places(text, { start, end }) })),
  };
}

function places(text: string, { start, end }: Pick<Finding, 'start' | 'end'>) {
  const startPosition = [...text.slice(0, start)].length;
  return { startPosition, endPosition: startPosition + [...text.slice(start, end)].length };
}
