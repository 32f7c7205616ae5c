import { create, fromJsonString } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { pairedBootstrap } from '@landfall/metrics/bootstrap.ts';
import {
  EvaluationDifferenceSchema,
  type TestSetRow,
} from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import {
  type Optimization,
  OptimizationMove,
  OptimizationSchema,
  OptimizationStage,
} from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import { OptimizationTrySchema } from '@landfall/proto/landfall/prompt/v1/optimization_try_pb.js';
import type { PromptContext } from '../context.ts';
import { OptimizationTryEntity } from '../db/evaluation-entities.ts';
import { draftDigest } from '../domain/draft.ts';
import { findVersion } from '../domain/find.ts';
import { type Contents, loadContents } from '../domain/load-parts.ts';
import { overRows } from '../evaluation/aggregate.ts';
import { bestValue, metricName } from '../evaluation/metrics.ts';
import { RowWriter } from '../jobs/row-writer.ts';
import type { JobResult, JobRun } from '../jobs/runner.ts';
import { findTestSet, loadRows, parseTestSetRef } from '../test-sets/store.ts';
import { KeptAnswers } from './answers.ts';
import { OptimizationBench } from './bench.ts';
import { type Bounds, boundsOf, whySpent } from './budget.ts';
import { conclusionOf, versionOf } from './conclude.ts';
import { splitOf, validationCalls, writeOptimization } from './new-optimization.ts';
import { writeTry } from './optimization-reply.ts';
import { proposals } from './propose.ts';
import { type Candidate, type Found, search } from './search.ts';
import type { Split } from './split.ts';

const SAVE_EVERY_MS = 500;
const RESAMPLES = 2000;

/** Searches on the development rows, validates on the held-out ones, and makes a version of what is better. */
export async function runOptimization(context: PromptContext, run: JobRun): Promise<JobResult> {
  const job = await Job.load(context, run);
  try {
    return await job.validate(await job.search());
  } finally {
    // Left in the middle, what was answered is kept: nobody is asked again.
    await job.settle();
  }
}

/** What an optimisation works with. */
interface Loaded {
  tests: TestSetRow[];
  contents: Contents;
  /** Of earlier attempts. */
  answers: KeptAnswers;
}

/** An optimisation in hand. */
class Job {
  readonly #run: JobRun;
  readonly #optimization: Optimization;
  readonly #tests: TestSetRow[];
  readonly #contents: Contents;
  readonly #split: Split;
  readonly #bounds: Bounds;
  readonly #answers: KeptAnswers;
  readonly #bench: OptimizationBench;
  readonly #tries: RowWriter<{ number: number; content: string }>;
  #savedMs = 0;

  static async load(context: PromptContext, run: JobRun): Promise<Job> {
    const { id, tenant, content, testSet } = run.row;
    const optimization = fromJsonString(OptimizationSchema, content);
    const named = parseTestSetRef(testSet)!;
    const { name, version } = run.row;
    const { tests, contents } = await context.database.read(async (em) => ({
      tests: await loadRows(em, await findTestSet(em, tenant, named.name, named.version)),
      contents: await loadContents(em, (await findVersion(em, tenant, name, version)).version),
    }));
    const answers = await KeptAnswers.load(context.database, id);
    return new Job(context, run, optimization, { tests, contents, answers });
  }

  private constructor(
    context: PromptContext,
    run: JobRun,
    optimization: Optimization,
    { tests, contents, answers }: Loaded,
  ) {
    this.#run = run;
    this.#optimization = optimization;
    this.#tests = tests;
    this.#contents = contents;
    this.#split = splitOf(optimization, tests);
    this.#bounds = boundsOf(optimization.budget);
    this.#answers = answers;
    this.#bench = new OptimizationBench(context, optimization, tests, contents.parts, answers, run.call);
    this.#bench.onAnswer = () => this.#noteAnswer();
    this.#tries = new RowWriter(context.database, async (em, rows) => {
      // The last state of a try counts, where it changed twice within a moment.
      const last = new Map(rows.map((row) => [row.number, row]));
      await em.upsertMany(
        OptimizationTryEntity,
        [...last.values()].map((row) => ({ jobId: run.row.id, ...row })),
      );
    });
  }

  async search(): Promise<Found> {
    const optimization = this.#optimization;
    const { version } = this.#run.row;
    const { draft, parts } = this.#contents;
    const { development, examples } = this.#split;
    const perfect = bestValue(optimization.metric!);
    const perRow = validationCalls(optimization) / (2 * optimization.heldOutRows);
    const move = OptimizationMove.UNSPECIFIED;
    const first = {
      parent: 0,
      move,
      reason: `version ${version}, as it is`,
      draft,
      digest: draftDigest(draft),
    };
    const seen = [...examples, ...development].map((row) => this.#tests[row]!);
    const found = await search(
      first,
      {
        rows: development.length,
        perfect,
        cost: (candidates, rows) => {
          const missing = candidates.map((one) => this.#bench.missing(one, development.slice(0, rows)));
          return perRow * missing.reduce((sum, count) => sum + count, 0);
        },
        spent: (answers) => this.#spent(answers),
        measure: (candidate, rows) => this.#bench.value(candidate, development.slice(0, rows)),
        propose: (round, from) => {
          optimization.round = round;
          return proposals({
            ...{ optimization, round, from, seen, parts },
            examples: examples.map((row) => this.#tests[row]!),
            misses: (of) => this.#bench.misses(of, development, perfect),
            rewrite: async (about, question) =>
              this.#spent(1) ? undefined : this.#bench.rewrite(`${round}:${about}`, question),
          });
        },
        record: (candidate) => this.#record(candidate),
      },
      this.#bounds,
    );
    await this.settle();
    return found;
  }

  /** Measures first and best on rows that the search has never seen. */
  async validate({ best, tries, why }: Found): Promise<JobResult> {
    const optimization = this.#optimization;
    const { heldOut } = this.#split;
    const metric = optimization.metric!;
    optimization.stage = OptimizationStage.VALIDATE;
    const [first] = tries as [Candidate, ...Candidate[]];
    const before = await this.#bench.answers(first, heldOut);
    const after = await this.#bench.answers(best, heldOut);
    const found = pairedBootstrap(overRows(metric, before), overRows(metric, after), {
      ...{ rows: heldOut.length, resamples: RESAMPLES, seed: optimization.seed },
    });
    const held = create(EvaluationDifferenceSchema, {
      ...{ metric: metricName(metric), ...found, rows: heldOut.length },
    });
    optimization.heldOut = held;
    this.#record(first, found.first);
    if (best !== first) this.#record(best, found.second);
    await this.settle();
    const isBetter = best !== first && found.difference > 0;
    this.#note();
    optimization.percent = 100;
    optimization.conclusion = conclusionOf(optimization, best, why, isBetter);
    const { version: from } = this.#run.row;
    return {
      content: writeOptimization(optimization),
      metrics: { [held.metric]: found.second },
      version: from,
      ...(isBetter ? { also: (em) => this.#makeVersion(em, best) } : {}),
    };
  }

  /** Resolves when all that has come is in the database. */
  async settle(): Promise<void> {
    await this.#answers.settle();
    await this.#tries.settle();
  }

  async #makeVersion(em: EntityManager, best: Candidate) {
    const { tenant, name, author, version: from } = this.#run.row;
    const version = await versionOf(em, { tenant, name, author, from }, this.#optimization, best);
    return { version, content: writeOptimization({ ...this.#optimization, version }) };
  }

  #spent(answers: number): string | undefined {
    const seconds = (Date.now() - (this.#run.row.startedMs ?? Date.now())) / 1000;
    const spent = { calls: this.#answers.calls, seconds };
    return whySpent(this.#bounds, spent, answers, validationCalls(this.#optimization));
  }

  #record(candidate: Candidate, heldOutScore?: number): void {
    const optimization = this.#optimization;
    const { number, round, parent, move, reason, digest, draft, rows, score, finished, outcome } = candidate;
    optimization.tries = Math.max(optimization.tries, number + 1);
    if (number === 0 && finished) optimization.firstDevelopment = score;
    if (finished && (number === 0 || score > optimization.bestDevelopment)) {
      optimization.bestDevelopment = score;
      optimization.bestTry = number;
    }
    const one = create(OptimizationTrySchema, {
      ...{ number, round, parent, move, reason, digest, draft, rows, score, finished, outcome },
      ...(heldOutScore === undefined ? {} : { heldOutScore }),
    });
    this.#tries.add({ number, content: writeTry(one) });
  }

  async #noteAnswer(): Promise<void> {
    if (Date.now() - this.#savedMs < SAVE_EVERY_MS) return;
    this.#savedMs = Date.now();
    this.#note();
    await this.#run.save(writeOptimization(this.#optimization));
  }

  #note(): void {
    const optimization = this.#optimization;
    const { maxCalls, maxSeconds, maxRounds } = this.#bounds;
    optimization.calls = this.#answers.calls;
    const seconds = (Date.now() - (this.#run.row.startedMs ?? Date.now())) / 1000;
    const shares = [
      optimization.calls / maxCalls,
      seconds / maxSeconds,
      Math.max(0, optimization.round - 1) / maxRounds,
    ];
    optimization.percent = Math.min(99, 100 * Math.max(...shares));
  }
}
