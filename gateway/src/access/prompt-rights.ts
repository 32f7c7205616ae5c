import { type DescMethod, getOption, type MessageInitShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { invalidArgument, LandfallError } from '@landfall/common/errors/errors.ts';
import { type Identity, inArea } from '@landfall/common/identity/identity.ts';
import {
  type AccessTargetSchema,
  PromptRight,
  right as rightOption,
} from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import { PromptAccessService } from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { GatewayContext } from '../context.ts';
import { routeName } from '../edge/route-name.ts';

/** What the prompt service decides on a prompt or folder. */
export interface PromptDecision {
  allowed: boolean;
  restricted: boolean;
  /** `role`, `administrator` or `grant:GRANTEE`, as those of other resources. */
  policies: string[];
  /** For people, in the order that they count. */
  reasons: string[];
}

/** Whether rights on a resource are the prompt service's. */
export const isOfPrompts = (resource: string): boolean => /^(prompts|folders)\//.test(resource);

/**
 * Whether somebody has the right that a method asks for on a prompt or folder: as the prompt service, which decides when
 * it is called, explains it.
 * @param who in question; the caller itself, the very object, where it asks for itself
 * @throws LandfallError INVALID_ARGUMENT for a method that asks for none, PERMISSION_DENIED where one who owns it not
 *   asks for others
 */
export async function onPrompts(
  { channels }: GatewayContext,
  caller: Identity,
  who: Identity,
  method: DescMethod,
  resource: string,
): Promise<PromptDecision> {
  const right = getOption(method, rightOption);
  if (right === PromptRight.UNSPECIFIED) {
    throw invalidArgument('resource', `${routeName(method)} asks for no right on a prompt or folder`);
  }
  const { subject, role, groups = [] } = inArea(who, 'prompt');
  const asked = { target: targetOf(resource), right };
  const somebody = who === caller ? asked : { ...asked, subject, role, groups: [...groups] };
  try {
    const prompts = channels.prompt.client(PromptAccessService);
    const reply = await prompts.explainRight(somebody, { identity: caller });
    const { allowed, policies, reasons, restrictedBy } = reply;
    return { allowed, policies, reasons, restricted: restrictedBy !== undefined };
  } catch (cause) {
    if (!(cause instanceof LandfallError) || cause.code !== status.NOT_FOUND) throw cause;
    // A call would be answered so as well: what somebody may not know of is not there for them.
    const reasons = [`there is no ${resource}, or none that they may know of`];
    return { allowed: false, policies: [], restricted: false, reasons };
  }
}

function targetOf(resource: string): MessageInitShape<typeof AccessTargetSchema> {
  const value = resource.slice(resource.indexOf('/') + 1);
  return { target: { case: resource.startsWith('prompts/') ? 'prompt' : 'folder', value } };
}
