import { create } from '@bufbuild/protobuf';
import type { Database } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { QuotaReachedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { QuotaAlertSchema } from '../db/quota-entities.ts';
import type { QuotaCounter } from './quota-counter.ts';

const SHARES = [80, 100] as const;

/** Tells, once a month over all gateways, that so much of a month's quota is used. */
export class QuotaAlerts {
  readonly #database: Database;
  readonly #told = new Set<string>();

  constructor(database: Database) {
    this.#database = database;
  }

  async check({ quota, month }: QuotaCounter): Promise<void> {
    const bounds = [
      ['tokens', month.sum('tokens'), quota.tokensPerMonth],
      ['money', month.sum('micros'), quota.microsPerMonth],
    ] as const;
    for (const [what, used, limit] of bounds) {
      for (const percent of SHARES) {
        const key = `${quota.id} ${month.name} ${what} ${percent} ${quota.revision}`;
        if (limit === 0 || used * 100 < limit * percent || this.#told.has(key)) continue;
        await this.#database.transaction(async (em) => {
          const alert = {
            quotaId: quota.id,
            period: month.name,
            what: `${what} ${percent} ${quota.revision}`,
          };
          if (await em.findOne(QuotaAlertSchema, alert)) return;
          await em.insert(QuotaAlertSchema, alert);
          const { tenant, subject, model } = quota;
          const reached = { tenant, subject, model, month: month.name, what, percent };
          await announce(em, 'gateway', {
            subject: 'landfall.gateway.quota.reached.v1',
            schema: QuotaReachedSchema,
            payload: create(QuotaReachedSchema, { ...reached, used: BigInt(used), limit: BigInt(limit) }),
          });
        });
        this.#told.add(key);
      }
    }
  }
}
