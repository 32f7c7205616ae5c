import type { Message } from '@bufbuild/protobuf';
import { permissionDenied } from '@landfall/common/errors/errors.ts';
import { hasRules, requireMethod, requireNamed, requireResources } from '@landfall/common/identity/check.ts';
import { type Identity, inArea } from '@landfall/common/identity/identity.ts';
import { resourcesOf } from '@landfall/common/identity/resources.ts';
import { ruleOf } from '@landfall/common/identity/rule.ts';
import type { EdgeCall, Flow, Who } from '../edge/governance.ts';
import type { Callers } from '../identity/callers.ts';
import type { Directory } from '../identity/directory.ts';
import { idsIn, type ReadItem, requireById } from './by-id.ts';
import type { ResourcePolicies } from './resource-policies.ts';
import { scopesHold } from './scopes.ts';
import { visible } from './visible.ts';

/** Who is at the door, and whether the contract, the policies and the scopes of the credential let them in. */
export class CallerGate implements Who {
  readonly #callers: Callers;
  readonly #directory: Directory;
  readonly #policies: ResourcePolicies;
  readonly #read: ReadItem;
  /** Calls of which a message was seen: the first one says what a stream is about. */
  readonly #begun = new WeakSet<Flow>();

  /** @param read shows what a request names by an id, in the gateway's own name */
  constructor(callers: Callers, directory: Directory, policies: ResourcePolicies, read: ReadItem) {
    this.#callers = callers;
    this.#directory = directory;
    this.#policies = policies;
    this.#read = read;
  }

  /** @returns the caller as the area of the method sees it */
  async authenticate(call: EdgeCall): Promise<Identity> {
    return inArea(await this.#callers.identify(call), ruleOf(call.method).area);
  }

  mayCall({ call: { method }, caller }: Flow): void {
    requireMethod(caller, method);
    const rule = ruleOf(method);
    if (caller.scopes && !scopesHold(caller.scopes, rule)) {
      throw permissionDenied(`the key's scopes do not hold ${rule.name}`, { reason: 'OUT_OF_SCOPE' });
    }
  }

  mayTouch(flow: Flow, message: Message): void | Promise<void> {
    const { call, caller } = flow;
    const check = this.#begun.has(flow) ? requireNamed : requireResources;
    this.#begun.add(flow);
    check(caller, call.method, message);
    // Where nothing is said of single resources, roles have decided.
    if (!hasRules(caller)) return;
    const ids = idsIn(call.method, message);
    if (ids.length > 0) return this.#askById(flow, message, ids);
    if (caller.rights) return this.#ask(flow, message);
  }

  mayShow(
    { call: { method }, caller }: Flow,
    reply: Message,
    request: Message | undefined,
    again: (request: Message) => Promise<Message>,
  ): Message | Promise<Message> {
    return hasRules(caller) ? visible(caller, method, reply, request, again) : reply;
  }

  async #askById(flow: Flow, message: Message, ids: readonly string[]): Promise<void> {
    const { call, caller } = flow;
    await requireById(caller, call.method, ids, this.#read, call.signal);
    if (caller.rights) await this.#ask(flow, message);
  }

  /** The policies have the last word: what services check again must never be more than they allow. */
  async #ask({ call: { method }, caller }: Flow, message: Message): Promise<void> {
    const rules = await this.#directory.rules(caller.tenant);
    for (const named of resourcesOf(method, message)) {
      if (rules.has(named.resource) && !this.#policies.decide(caller, named, rules).allowed) {
        throw permissionDenied(`no policy permits this on ${named.resource}`, { reason: 'RIGHT_MISSING' });
      }
    }
  }
}
