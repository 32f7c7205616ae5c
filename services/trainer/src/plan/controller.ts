import { setTimeout as delay } from 'node:timers/promises';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { TrainerContext } from '../context.ts';
import { PlanEntity, type PlanRow } from '../db/plan-entities.ts';
import { passes } from './refusals.ts';
import { advancePlan } from './stages.ts';
import { changePlan, endPlan, readPlan } from './store.ts';

/** How often plans are looked at that no event has told of: a job may end while nobody listens, time runs out. */
const SWEEP_MS = 2000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** Failures in a row whose cause is unknown, after which a plan is given up. */
const MAX_UNKNOWN = 8;

/**
 * Goes on with running plans: at the start, when a job has ended, and every so often. It holds no truth of its own: what
 * it forgets when it is killed is only which plans it was at, and two of them may work side by side.
 */
export class PlanController implements AsyncDisposable {
  readonly #stopping = new AbortController();
  readonly #working = new Map<string, { again: boolean; stop: AbortController; done: Promise<void> }>();
  /** Plans that wait after a failure. */
  readonly #resting = new Map<string, { failures: number; timer?: NodeJS.Timeout }>();
  #service: TrainerContext | undefined;
  #sweeping: Promise<void> | undefined;

  /** Takes up what runs. */
  start(service: TrainerContext): void {
    this.#service = service;
    this.#sweeping = this.#sweep(service);
  }

  /** Goes on with a plan as soon as it can. */
  wake(id: string): void {
    if (!this.#service || this.#stopping.signal.aborted || this.#resting.get(id)?.timer) return;
    const working = this.#working.get(id);
    if (working) {
      working.again = true;
      return;
    }
    const entry = { again: false, stop: new AbortController(), done: Promise.resolve() };
    this.#working.set(id, entry);
    entry.done = this.#advance(this.#service, id, entry).finally(() => this.#working.delete(id));
  }

  /** Leaves off what is done for a plan here and now; what it would have written is not taken any more. */
  interrupt(id: string): void {
    this.#working.get(id)?.stop.abort();
  }

  /** Leaves off everything; the next start takes it up. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    for (const { timer } of this.#resting.values()) clearTimeout(timer);
    await this.#sweeping;
    await Promise.all([...this.#working.values()].map(({ done }) => done));
  }

  async #sweep({ database, logger }: TrainerContext): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const rows = await database.read((em) =>
          em.find(PlanEntity, { state: 'running' }, { fields: ['id'], orderBy: { id: 'asc' } }),
        );
        for (const { id } of rows) this.wake(id);
      } catch (error) {
        logger.warn({ err: error }, 'running plans could not be looked for');
      }
      await delay(SWEEP_MS, undefined, { signal }).catch(() => {});
    }
  }

  async #advance(
    service: TrainerContext,
    id: string,
    entry: { again: boolean; stop: AbortController },
  ): Promise<void> {
    const signal = AbortSignal.any([this.#stopping.signal, entry.stop.signal]);
    try {
      do {
        entry.again = false;
        await advancePlan(service, id, signal);
      } while (entry.again);
      this.#resting.delete(id);
    } catch (error) {
      if (!signal.aborted) await this.#failed(service, id, error);
    }
  }

  async #failed(service: TrainerContext, id: string, error: unknown): Promise<void> {
    const { logger } = service;
    const failures = (this.#resting.get(id)?.failures ?? 0) + 1;
    const kind = passes(error);
    if (kind === 'no' || (kind === 'perhaps' && failures >= MAX_UNKNOWN)) {
      logger.warn({ err: error, plan_id: id }, 'a plan can not go on');
      const ended = await giveUp(service, id, error).catch((why: unknown) => {
        logger.warn({ err: why, plan_id: id }, 'the end of a plan could not be written');
        return false;
      });
      if (ended) {
        this.#resting.delete(id);
        return;
      }
    }
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
    logger.warn({ err: error, plan_id: id, retry_ms: pauseMs }, 'a plan is taken up again');
    const timer = setTimeout(() => {
      this.#resting.set(id, { failures });
      this.wake(id);
    }, pauseMs);
    this.#resting.set(id, { failures, timer });
    if (this.#stopping.signal.aborted) clearTimeout(timer);
  }
}

const DOING: Record<PlanRow['stage'], string> = {
  prepare: 'the data could not be prepared',
  choose: 'the next round could not be begun',
  train: 'the job could not be followed',
  decide: 'the next step could not be decided',
  deploy: 'the goal is met, and the version could not be taken to production',
};

/** Ends a plan that can't go on, saying why. */
async function giveUp({ database, changes }: TrainerContext, id: string, error: unknown): Promise<boolean> {
  const row = await database.read((em) => em.findOne(PlanEntity, { id }));
  if (row?.state !== 'running') return true;
  const why =
    error instanceof LandfallError ? error.message : 'an internal error; see the log of the trainer';
  const { bestVersion } = readPlan(row);
  const about = row.stage === 'deploy' ? ` (${bestVersion})` : '';
  const ended = await changePlan(database, row, (_em, now) =>
    endPlan(now, 'failed', `${DOING[row.stage]}${about}: ${why}`),
  );
  changes.touch(id);
  return ended;
}
