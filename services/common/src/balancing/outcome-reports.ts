import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ReportOutcomesRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Identity } from '../identity/identity.ts';
import type { Logger } from '../log/logger.ts';

export type OutcomeReport = MessageInitShape<typeof ReportOutcomesRequestSchema>;

interface Counts {
  identity: Identity;
  deployment: string;
  model: string;
  calls: number;
  errors: number;
}

const BATCH_MS = 1000;
/** Deployments and models that are counted at once; more are left out until the next report. */
const MOST = 1000;

/** Counts how calls of deployments with a canary ended, and tells the balancer many at a time. */
export class OutcomeReports {
  readonly #send: (report: OutcomeReport, identity: Identity) => Promise<unknown>;
  readonly #logger: Logger;
  #counts = new Map<string, Counts>();
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (report: OutcomeReport, identity: Identity) => Promise<unknown>, logger: Logger) {
    this.#send = send;
    this.#logger = logger;
  }

  /** @param identity in whose name it is told; its tenant owns the deployment */
  add(deployment: string, model: string, failed: boolean, identity: Identity): void {
    const key = JSON.stringify([identity.tenant, deployment, model]);
    const counts = this.#counts.get(key) ?? { identity, deployment, model, calls: 0, errors: 0 };
    if (this.#counts.size >= MOST && counts.calls === 0) return;
    counts.calls++;
    if (failed) counts.errors++;
    this.#counts.set(key, counts);
    this.#timer ??= setTimeout(() => void this.flush(), BATCH_MS).unref();
  }

  /** Tells what was counted. A report that does not arrive is lost: it is a sample, and telling it twice would lie. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const counts = [...this.#counts.values()];
    this.#counts = new Map();
    const told = counts.map(async ({ identity, deployment, model, calls, errors }) => {
      try {
        await this.#send({ deployment, model, calls: BigInt(calls), errors: BigInt(errors) }, identity);
      } catch (error) {
        this.#logger.warn({ err: error, deployment, model, calls }, 'outcomes of calls could not be told');
      }
    });
    await Promise.all(told);
  }
}
