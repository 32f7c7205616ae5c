import {
  type Context,
  type EntityJson,
  type PolicySet,
  policySetTextToParts,
  policyToJson,
  preparsePolicySet,
  statefulIsAuthorized,
} from '@cedar-policy/cedar-wasm/nodejs';

export interface Uid {
  type: string;
  id: string;
}

export interface Question {
  principal: Uid;
  action: Uid;
  resource: Uid;
  entities: EntityJson[];
  context?: Context;
}

export interface Decision {
  allowed: boolean;
  /** Ids of the policies that it was decided by; none where nothing allows. */
  policies: string[];
}

/** Policies of a text by their `@id`. @throws Error for a text that is no Cedar, or a policy without an id */
export function policiesOf(text: string): Record<string, string> {
  const parts = policySetTextToParts(text);
  if (parts.type !== 'success') throw new Error(`policies: ${messagesOf(parts.errors)}`);
  return Object.fromEntries(
    parts.policies.map((policy) => {
      const read = policyToJson(policy);
      const id = read.type === 'success' ? read.json.annotations?.id : undefined;
      if (typeof id !== 'string') throw new Error(`a policy has no @id: ${policy}`);
      return [id, policy];
    }),
  );
}

/** Policies that were parsed once. */
export class Policies {
  readonly #id: string;

  /** @param id of its own; policies that were kept under it before are replaced */
  constructor(id: string, policies: PolicySet) {
    this.#id = id;
    const parsed = preparsePolicySet(id, policies);
    if (parsed.type !== 'success') throw new Error(`policies ${id}: ${messagesOf(parsed.errors)}`);
  }

  /** Denied unless a policy permits it. @throws Error for a question that can not be read, or a policy that fails */
  decide({ principal, action, resource, entities, context = {} }: Question): Decision {
    const answer = statefulIsAuthorized({
      ...{ principal, action, resource, entities, context },
      preparsedPolicySetId: this.#id,
    });
    if (answer.type !== 'success') throw new Error(`policies ${this.#id}: ${messagesOf(answer.errors)}`);
    const { decision, diagnostics } = answer.response;
    const [failed] = diagnostics.errors;
    if (failed) throw new Error(`policy ${failed.policyId}: ${failed.error.message}`);
    return { allowed: decision === 'allow', policies: diagnostics.reason };
  }
}

const messagesOf = (errors: readonly { message: string }[]) =>
  errors.map(({ message }) => message).join('; ');
