import { createHash, type Hash } from 'node:crypto';
import { type DescMessage, type Message, toBinary } from '@bufbuild/protobuf';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { ruleOf } from '@landfall/common/identity/rule.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { EdgeCall, Flow, Ledger, LedgerEntry, Outcome } from '../edge/governance.ts';
import { routeName } from '../edge/route-name.ts';
import type { AuditLog, Durability } from './audit-log.ts';
import { type AuditRecord, recordId } from './chain.ts';
import type { ConfigChanges } from './config-changes.ts';
import { resourceOf } from './resource.ts';

/** Callers without a valid key that get lines of their own, a second; the rest are counted in one. */
const STRANGERS_A_SECOND = 100;
const OWN_PACKAGE = 'landfall.gateway.v1';

/** Records calls in the audit log. */
export class CallLedger implements Ledger {
  readonly #log: AuditLog;
  readonly #changes: ConfigChanges;
  #strangers = 0;
  #second = 0;

  constructor(log: AuditLog, changes: ConfigChanges) {
    this.#log = log;
    this.#changes = changes;
  }

  /** Nobody fills the disk by knocking: strangers beyond a number are counted, and the count is a line. */
  async refused(call: EdgeCall, caller: Identity | undefined, outcome: Outcome): Promise<void> {
    if (!caller) {
      const second = Math.floor(Date.now() / 1000);
      if (second !== this.#second) {
        const uncounted = this.#strangers - STRANGERS_A_SECOND;
        this.#second = second;
        this.#strangers = 0;
        if (uncounted > 0)
          void this.#log.append(line(call, caller, outcome, `strangers/${uncounted}`)).catch(() => {});
      }
      this.#strangers += 1;
      if (this.#strangers > STRANGERS_A_SECOND) return;
    }
    await this.#log.append(line(call, caller, outcome, ''));
  }

  open(flow: Flow): LedgerEntry {
    return new CallEntry(this.#log, this.#changes, flow);
  }
}

class CallEntry implements LedgerEntry {
  readonly #log: AuditLog;
  readonly #changes: ConfigChanges;
  readonly #flow: Flow;
  readonly #id = recordId(Date.now());
  #resource = '';
  #asked: Hash | undefined;
  #replied: Hash | undefined;

  constructor(log: AuditLog, changes: ConfigChanges, flow: Flow) {
    this.#log = log;
    this.#changes = changes;
    this.#flow = flow;
  }

  asked(message: Message): void {
    const { method } = this.#flow.call;
    this.#resource ||= resourceOf(method, message);
    this.#asked = added(this.#asked, method.input, message);
  }

  replied(message: Message): void {
    this.#replied = added(this.#replied, this.#flow.call.method.output, message);
  }

  async begun(): Promise<void> {
    await this.#log.append(this.#line('BEGUN', this.#asked?.copy(), undefined), this.#durability);
  }

  async end(outcome: Outcome): Promise<void> {
    // A change that this call has made is recorded before its answer leaves.
    if (this.#flow.call.method.parent.file.proto.package === OWN_PACKAGE) await this.#changes.recorded();
    await this.#log.append(this.#line(outcome, this.#asked, this.#replied), this.#durability);
  }

  /** What may change something waits for the disk, whatever the log does by itself. */
  get #durability(): Durability | undefined {
    return ruleOf(this.#flow.call.method).needed >= Role.EDITOR ? 'disk' : undefined;
  }

  #line(outcome: Outcome | 'BEGUN', asked: Hash | undefined, replied: Hash | undefined): AuditRecord {
    const { call, caller, policy, cache } = this.#flow;
    return {
      ...line(call, caller, outcome, this.#resource),
      id: this.#id,
      policy,
      cache,
      request: asked?.digest('base64url') ?? '',
      response: replied?.digest('base64url') ?? '',
    };
  }
}

function added(hash: Hash | undefined, schema: DescMessage, message: Message): Hash {
  return (hash ?? createHash('sha256')).update(toBinary(schema, message));
}

function line(
  call: EdgeCall,
  caller: Identity | undefined,
  outcome: Outcome | 'BEGUN',
  resource: string,
): AuditRecord {
  const { tenant = '', subject = '' } = caller ?? {};
  const timeMs = Date.now();
  return {
    ...{ id: recordId(timeMs), timeMs, kind: 'call', tenant, subject, route: call.route },
    ...{ method: routeName(call.method), resource, outcome, policy: '', request: '', response: '' },
  };
}
