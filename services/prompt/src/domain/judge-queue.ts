import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { backgroundCall } from '@landfall/common/rpc/background-call.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { Invocation } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { PromptContext } from '../context.ts';
import { InvocationSchema } from '../db/entities.ts';
import { type JudgeTaskRow, JudgeTaskSchema, ScoringPolicySchema } from '../db/log-entities.ts';
import { readEntry } from './invocation-log.ts';
import { judge } from './judge.ts';
import { attachScore } from './scores.ts';
import { policyAuthor, readScoringPolicy } from './scoring.ts';

export interface JudgeQueueOptions {
  database: Database;
  replicas: PromptContext['replicas'];
  logger: Logger;
}

const AT_ONCE = 2;
const POLL_MS = 5000;
/** A task that a process has taken is another's after this long, should that one die. */
const LEASE_MS = 180_000;
const TIMEOUT_MS = 120_000;
const MOST_TRIES = 6;
const BACKOFF_MS = [5000, 30_000, 120_000, 600_000, 1_800_000];
/** Below live calls and evaluations. */
const PRIORITY = -8;

/** Has judges mark invocations behind live calls. Tasks are rows: they outlive restarts, and several processes share them. */
export class JudgeQueue implements AsyncDisposable {
  readonly #options: JudgeQueueOptions;
  readonly #stopping = new AbortController();
  #wake = Promise.withResolvers<void>();
  #workers: Promise<void>[] = [];

  constructor(options: JudgeQueueOptions) {
    this.#options = options;
  }

  start(): void {
    this.#workers = Array.from({ length: AT_ONCE }, () => this.#run());
  }

  /** There are tasks. */
  poke(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  /** Leaves what runs: its task is taken up again. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.poke();
    await Promise.all(this.#workers);
  }

  async #run(): Promise<void> {
    const { logger } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const poked = this.#wake.promise;
      const worked = await this.#next().catch((err) => {
        logger.warn({ err }, 'judges could not be asked');
        return false;
      });
      if (worked || signal.aborted) continue;
      const timer = new AbortController();
      await Promise.race([poked, delay(POLL_MS, undefined, { signal: timer.signal }).catch(() => {})]);
      timer.abort();
    }
  }

  async #next(): Promise<boolean> {
    const task = await this.#claim();
    if (!task) return false;
    try {
      await this.#work(task);
    } catch (err) {
      if (this.#stopping.signal.aborted) await this.#put(task, { dueMs: Date.now() });
      else await this.#failed(task, err);
    }
    return true;
  }

  /** The oldest task that is due, for this process alone. */
  async #claim(): Promise<JudgeTaskRow | undefined> {
    const nowMs = Date.now();
    const { database } = this.#options;
    return database.transaction(async (em) => {
      const where = { dueMs: { $lte: nowMs } };
      for (const task of await em.find(JudgeTaskSchema, where, {
        orderBy: { dueMs: 'asc' },
        limit: AT_ONCE,
      })) {
        const { invocationId, policy, dueMs } = task;
        const lease = { dueMs: nowMs + LEASE_MS };
        if ((await em.nativeUpdate(JudgeTaskSchema, { invocationId, policy, dueMs }, lease)) > 0) return task;
      }
      return undefined;
    });
  }

  async #work(task: JudgeTaskRow): Promise<void> {
    const { database, replicas } = this.#options;
    const { invocationId, tenant, prompt, policy: name } = task;
    const [row, policyRow] = await database.read((em) =>
      Promise.all([
        em.findOne(InvocationSchema, { id: invocationId }),
        em.findOne(ScoringPolicySchema, { tenant, prompt, name }),
      ]),
    );
    const policy = policyRow && readScoringPolicy(policyRow);
    // Either may have been deleted meanwhile.
    if (!row || !policy?.judge) return this.#drop(task);
    const entry = readEntry(row.entry);
    const identity = { subject: policy.author, tenant, role: Role.INVOKER };
    const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const call = backgroundCall(identity, signal);
    const { mark, reason } = await judge({ replicas }, policy.judge, judgedOf(entry), call, PRIORITY);
    if (mark === 0) throw new Error('the judge gave no mark');
    const score = { name: policy.judgeScore || 'quality', value: mark, reason };
    await database.transaction(async (em) => {
      const there = await em.nativeDelete(JudgeTaskSchema, { invocationId, policy: name });
      // Whoever takes the task away gives the score.
      if (there > 0) await attachScore(em, tenant, entry, score, policyAuthor(name));
    });
  }

  async #failed(task: JudgeTaskRow, err: unknown): Promise<void> {
    const tries = task.tries + 1;
    const about = { invocation: task.invocationId, policy: task.policy, tries };
    if (tries >= MOST_TRIES) {
      this.#options.logger.warn({ err, ...about }, 'an invocation stays without its judge');
      return this.#drop(task);
    }
    await this.#put(task, { tries, dueMs: Date.now() + BACKOFF_MS[tries - 1]! });
  }

  async #put({ invocationId, policy }: JudgeTaskRow, change: Partial<JudgeTaskRow>): Promise<void> {
    const { database } = this.#options;
    await database.transaction((em) => em.nativeUpdate(JudgeTaskSchema, { invocationId, policy }, change));
  }

  async #drop({ invocationId, policy }: JudgeTaskRow): Promise<void> {
    const { database } = this.#options;
    await database.transaction((em) => em.nativeDelete(JudgeTaskSchema, { invocationId, policy }));
  }
}

/** What a judge is shown of an invocation. */
export const judgedOf = (entry: Invocation, expected: readonly string[] = []) => ({
  question: entry.rendered.map(({ content }) => content).join('\n\n'),
  expected,
  output: entry.output,
});
