import { create } from '@bufbuild/protobuf';
import type { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import type { EvaluationMetric, TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { Optimization } from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { ChatMessageSchema, SamplingOptionsSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { PromptContext } from '../context.ts';
import { answer } from '../domain/answer.ts';
import type { Parts } from '../domain/parts.ts';
import { type MeasuredRow, overRows } from '../evaluation/aggregate.ts';
import { answerTest } from '../evaluation/answer-test.ts';
import {
  BACKGROUND_PRIORITY,
  judgeRow,
  PATIENCE_MS,
  scoreByCode,
  scoreUnanswered,
} from '../evaluation/measure-row.ts';
import { metricName } from '../evaluation/metrics.ts';
import { atOnce } from '../jobs/at-once.ts';
import { isOfTheRow, patiently } from '../jobs/patience.ts';
import type { KeptAnswer, KeptAnswers } from './answers.ts';
import type { Miss } from './moves/move.ts';

/** A version as it is asked. */
export interface Asked {
  draft: PromptDraft;
  digest: string;
}

/** A rewriter's replies are short, and differ from one another. */
const REWRITING = { temperature: 0.9, topP: 0.95, maxTokens: 200 };

/** Asks models in the name of an optimisation, each question once. */
export class OptimizationBench {
  readonly #context: PromptContext;
  readonly #optimization: Optimization;
  readonly #metric: EvaluationMetric;
  readonly #tests: readonly TestSetRow[];
  readonly #parts: Parts;
  readonly #answers: KeptAnswers;
  readonly #call: CallContext;
  /** Called after each answer. A row's samples, its vote and its repair are one answer. */
  onAnswer: () => Promise<void> = async () => {};

  constructor(
    context: PromptContext,
    optimization: Optimization,
    tests: readonly TestSetRow[],
    parts: Parts,
    answers: KeptAnswers,
    call: CallContext,
  ) {
    this.#context = context;
    this.#optimization = optimization;
    this.#metric = optimization.metric!;
    this.#tests = tests;
    this.#parts = parts;
    this.#answers = answers;
    this.#call = call;
  }

  /** How many of these rows a version has not answered yet. */
  missing({ digest }: Asked, rows: readonly number[]): number {
    return rows.filter((row) => !this.#answers.has(key(digest, row))).length;
  }

  /** A version's answers to some rows, in their order. @throws LandfallError what is no matter of a row */
  async answers(asked: Asked, rows: readonly number[]): Promise<MeasuredRow[]> {
    const { concurrency } = this.#optimization;
    const found = new Map<number, KeptAnswer>();
    await atOnce(rows, { concurrency, signal: this.#call.signal }, async (row, signal) => {
      const call = { ...this.#call, signal };
      found.set(
        row,
        await this.#answers.get(key(asked.digest, row), () => this.#ask(asked.draft, row, call)),
      );
      await this.onAnswer();
    });
    return rows.map((row) => ({ test: this.#tests[row]!, ...found.get(row)! }));
  }

  /** The metric of a version over some rows. */
  async value(asked: Asked, rows: readonly number[]): Promise<number> {
    const measured = await this.answers(asked, rows);
    const value = overRows(this.#metric, measured)(Uint32Array.from(rows, (_, i) => i));
    // None of the rows is one that the metric speaks of.
    return Number.isNaN(value) ? 0 : value;
  }

  /** Rows that a version got wrong, the worst first. */
  async misses(asked: Asked, rows: readonly number[], perfect: number): Promise<Miss[]> {
    const name = metricName(this.#metric);
    const wrong = (await this.answers(asked, rows)).filter(
      ({ scores }) => (scores[name] ?? perfect) < perfect,
    );
    return wrong.sort((a, b) => a.scores[name]! - b.scores[name]!);
  }

  /** What the rewriter says to a question. @param about names it among the questions of the job */
  async rewrite(about: string, question: string): Promise<string> {
    const { rewriter, seed } = this.#optimization;
    const messages = [create(ChatMessageSchema, { role: 'user', content: question })];
    const drawn = BigInt(Math.floor(randomOf(seed, 'rewrite', about)() * 2 ** 48));
    const sampling = create(SamplingOptionsSchema, { ...REWRITING, seed: drawn });
    const { output } = await this.#answers.get(`rewrite#${about}`, async () => {
      const asked = { messages, sampling, priority: BACKGROUND_PRIORITY };
      const output = await this.#patiently(() => answer(this.#context, [rewriter], asked, this.#call)).then(
        ({ text }) => text,
        (error: unknown) => {
          // Such as a question beyond its context: no proposal comes of it.
          if (!isOfTheRow(error)) throw error;
          return '';
        },
      );
      return { output, scores: {}, calls: 1 };
    });
    await this.onAnswer();
    return output;
  }

  async #ask(draft: PromptDraft, row: number, call: CallContext): Promise<KeptAnswer> {
    const test = this.#tests[row]!;
    const metrics = [this.#metric];
    const { deployment } = this.#optimization;
    try {
      const contents = { draft, parts: this.#parts };
      const { rendered, output } = await answerTest(this.#context, contents, test, { deployment }, call);
      const measured = scoreByCode(metrics, draft.outputContract, { test, output });
      const judged = await judgeRow(this.#context, metrics, { test, rendered, output }, call, measured);
      return { output, scores: measured.scores, calls: 1 + judged };
    } catch (error) {
      if (!isOfTheRow(error)) throw error;
      const { message } = error as LandfallError;
      return { output: `(${message})`, scores: scoreUnanswered(metrics, test), calls: 1 };
    }
  }

  #patiently<T>(work: () => Promise<T>): Promise<T> {
    return patiently(work, { patienceMs: PATIENCE_MS, signal: this.#call.signal });
  }
}

const key = (digest: string, row: number) => `${digest}#${row}`;
