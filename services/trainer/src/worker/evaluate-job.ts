import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  BackwardTransferSchema,
  type EvaluationResult,
  EvaluationResultSchema,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { RegistryGateway } from '../clients/registry.ts';
import type { ReplicaPool, ReplicaSet } from '../clients/replicas.ts';
import { evaluationDeployment } from '../domain/evaluation-deployment.ts';
import type { Example } from '../engine/data/example.ts';
import { checkFolder } from '../engine/data/files.ts';
import { type PromptTemplate, parseTemplates } from '../engine/data/template.ts';
import { TrainingError } from '../engine/train/errors.ts';
import type { OutputKind } from '../engine/train/output.ts';
import { answerRows, askSafety, type Likelihood, type ServedModel } from '../evaluation/evaluate.ts';
import { missedGates } from '../evaluation/gates.ts';
import { metricsOf, resultOf, safetyMetrics, safetyResultOf } from '../evaluation/results.ts';
import { readSafetySet, type SafetyPrompt } from '../evaluation/safety.ts';
import { AnswersFile } from './answers-file.ts';
import type { Attempt } from './attempt.ts';
import { within } from './progress.ts';

/** Where an evaluation finds things. */
export interface JobEvaluation {
  registry: RegistryGateway;
  replicas: ReplicaPool;
  base: Version;
  /** The tuned version that the job went on from. */
  from: Version | undefined;
  /** What the draft is. */
  output: OutputKind;
  /** `models:/name/version` of the draft. */
  draft: string;
  modelFolder: string;
  answersFolder: string;
  concurrency: number;
}

/** Answered rows of one report: a message holds only so many. */
const ROWS_A_REPORT = 200;

type Side = 'base' | 'tuned' | 'safety';
const FIELDS = { base: 'baseResult', tuned: 'tunedResult', safety: 'safetyResult' } as const;

/** A set that a model is asked, and where its rows are. */
interface AskedSet {
  ref: string;
  examples: readonly Example[];
}

/**
 * Has the base (where asked for) and the tuned model answer the validation rows on deployed replicas, earlier sets and
 * the safety set, reports all results, and holds them against the gates. What an earlier attempt has found out is not
 * asked again.
 *
 * @returns metrics for the version, by their names, and `base_` before each for the base
 * @throws TrainingError naming the gates that were missed
 */
export async function evaluateJob(attempt: Attempt, task: JobEvaluation): Promise<Record<string, number>> {
  return new JobEvaluator(attempt, task).run();
}

class JobEvaluator {
  readonly #attempt: Attempt;
  readonly #task: JobEvaluation;
  readonly #template: PromptTemplate;
  readonly #startMs = Date.now();
  #asked = 0;

  constructor(attempt: Attempt, task: JobEvaluation) {
    this.#attempt = attempt;
    this.#task = task;
    const { instructionTemplates } = attempt.job.spec!.config!;
    this.#template = parseTemplates(instructionTemplates, hasChatTemplate(task.modelFolder))[0]!;
  }

  async run(): Promise<Record<string, number>> {
    const { job, identity, progress } = this.#attempt;
    const { base, replicas, output, draft, from } = this.#task;
    const evaluation = job.spec!.evaluation!;
    const validation = evaluation.dataset === '' ? undefined : await this.#set(evaluation.dataset);
    const earlier: AskedSet[] = [];
    for (const ref of evaluation.earlierDatasets) earlier.push(await this.#set(ref));
    const safety = evaluation.safety ? await this.#safetySet(evaluation.safetyDataset) : [];
    const validationRows = validation?.examples.length ?? 0;
    const earlierRows = earlier.reduce((sum, { examples }) => sum + examples.length, 0);
    progress.totalRows = validationRows * (evaluation.includeBase ? 2 : 1) + 2 * earlierRows + safety.length;
    progress.evaluatedRows = 0;

    await using stack = new AsyncDisposableStack();
    const open = (ref: string): ReplicaSet => replicas.of(ref, { identity });
    const baseSet = open(base.ref);
    let tuned: ServedModel = { replicas: baseSet, adapter: draft };
    if (output === 'model') {
      const name = evaluationDeployment(job.id);
      stack.use(await this.#attempt.patiently(() => replicas.deployDraft(name, draft, identity)));
      tuned = { replicas: open(draft), adapter: '' };
    }
    const start: ServedModel = { replicas: baseSet, adapter: from?.kind === Kind.ADAPTER ? from.ref : '' };
    const judge = await this.#judge(evaluation.judgeModel, open);

    const metrics: Record<string, number> = {};
    try {
      if (validation) {
        if (evaluation.includeBase) {
          const result = await this.#measure(
            'base',
            { replicas: baseSet, adapter: '' },
            base.ref,
            validation,
            judge,
          );
          for (const [name, value] of Object.entries(metricsOf(result))) metrics[`base_${name}`] = value;
        }
        Object.assign(metrics, metricsOf(await this.#measure('tuned', tuned, draft, validation, judge)));
      }
      if (earlier.length > 0)
        metrics.backward_transfer = await this.#transfer(earlier, start, from?.ref ?? base.ref, tuned);
      if (safety.length > 0) Object.assign(metrics, await this.#safety(safety, tuned));
      const missed = missedGates(evaluation.gates, metrics);
      if (missed.length > 0) throw new TrainingError('gate', `${draft} stays a draft: ${missed.join('; ')}`);
    } catch (error) {
      // A job that ends here registers nothing; one that is taken up again loads its adapter anew.
      if (tuned.adapter) await tuned.replicas.unload(tuned.adapter);
      throw error;
    }
    return metrics;
  }

  async #measure(
    side: 'base' | 'tuned',
    model: ServedModel,
    ref: string,
    { ref: dataset, examples }: AskedSet,
    judge: ServedModel | undefined,
  ): Promise<EvaluationResult> {
    const known = side === 'base' ? this.#attempt.job.baseResult : this.#attempt.job.tunedResult;
    if (known) {
      this.#count(examples.length);
      return known;
    }
    const startMs = Date.now();
    const rows = await this.#answer(side, model, examples, { perplexity: true, judge });
    const unmarked = rows.filter((row) => row.judge === 0).length;
    if (judge && unmarked > 0)
      this.#attempt.warn(
        `the judge gave ${unmarked} of ${rows.length} answers of ${ref} no mark from 1 to 10`,
      );
    const seconds = (Date.now() - startMs) / 1000;
    const result = resultOf(rows, { model: ref, dataset, seconds });
    await this.#report(side, result);
    return result;
  }

  /** Mean of after minus before over the earlier sets. */
  async #transfer(
    sets: readonly AskedSet[],
    before: ServedModel,
    beforeRef: string,
    after: ServedModel,
  ): Promise<number> {
    const transfers = [];
    for (const [i, { ref, examples }] of sets.entries()) {
      const options = { perplexity: false, judge: undefined };
      const rowsBefore = await this.#answer(`earlier-${i}-before`, before, examples, options);
      const rowsAfter = await this.#answer(`earlier-${i}-after`, after, examples, options);
      const bleuOf = (rows: typeof rowsBefore, model: string) =>
        resultOf(rows, { model, dataset: ref, seconds: 0 }).bleu;
      transfers.push(
        create(BackwardTransferSchema, {
          dataset: ref,
          before: bleuOf(rowsBefore, beforeRef),
          after: bleuOf(rowsAfter, this.#task.draft),
        }),
      );
    }
    await this.#attempt.report({ backwardTransfer: transfers });
    return transfers.reduce((sum, { before, after }) => sum + after - before, 0) / transfers.length;
  }

  async #safety(prompts: readonly SafetyPrompt[], model: ServedModel): Promise<Record<string, number>> {
    const startMs = Date.now();
    const graded = await askSafety(
      { ...this.#settings(model), answers: await this.#memory('safety') },
      prompts,
    );
    const { evaluation } = this.#attempt.job.spec!;
    const result = safetyResultOf(graded, {
      model: this.#task.draft,
      dataset: evaluation!.safetyDataset,
      seconds: (Date.now() - startMs) / 1000,
    });
    await this.#report('safety', result);
    return safetyMetrics(result);
  }

  async #answer(
    key: string,
    model: ServedModel,
    examples: readonly Example[],
    { perplexity, judge }: { perplexity: boolean; judge: ServedModel | undefined },
  ) {
    if (model.adapter)
      await this.#attempt.patiently(() => model.replicas.load(model.adapter, this.#attempt.signal));
    return answerRows({
      ...this.#settings(model),
      examples,
      perplexity,
      ...(judge ? { judge } : {}),
      answers: await this.#memory<string>(key),
      likelihoods: await this.#memory<Likelihood>(`${key}-likelihoods`),
      marks: await this.#memory<number>(`${key}-marks`),
    });
  }

  #settings(model: ServedModel) {
    return {
      model,
      template: this.#template,
      maxTokens: this.#attempt.job.spec!.evaluation!.maxTokens,
      concurrency: this.#task.concurrency,
      signal: this.#attempt.signal,
      onAnswer: () => this.#count(1),
    };
  }

  #memory<Value>(name: string): Promise<AnswersFile<Value>> {
    return AnswersFile.open<Value>(this.#task.answersFolder, name);
  }

  #count(rows: number): void {
    const { progress } = this.#attempt;
    progress.evaluatedRows += rows;
    this.#asked += rows;
    within(progress, progress.evaluatedRows / progress.totalRows);
    const left = progress.totalRows - progress.evaluatedRows;
    progress.remainingSeconds = ((Date.now() - this.#startMs) / 1000 / this.#asked) * left;
  }

  /** Rows first and scores last: once the scores are known, a later attempt counts the side as measured. */
  async #report(side: Side, result: EvaluationResult): Promise<void> {
    const { rowResults } = result;
    for (let at = 0; at < rowResults.length; at += ROWS_A_REPORT) {
      const part = create(EvaluationResultSchema, { rowResults: rowResults.slice(at, at + ROWS_A_REPORT) });
      await this.#attempt.report({ [FIELDS[side]]: part });
    }
    await this.#attempt.report({ [FIELDS[side]]: { ...result, rowResults: [] } });
  }

  async #judge(ref: string, open: (ref: string) => ReplicaSet): Promise<ServedModel | undefined> {
    if (ref === '') return undefined;
    const options = { identity: this.#attempt.identity, signal: this.#attempt.signal };
    const version = await this.#attempt.patiently(() =>
      this.#task.registry.version(ref, 'judge_model', options),
    );
    if (version.kind === Kind.BASE) return { replicas: open(version.ref), adapter: '' };
    return { replicas: open(version.lineage!.base), adapter: version.ref };
  }

  async #set(ref: string): Promise<AskedSet> {
    const { examples } = await checkFolder((await this.#folder(ref)).folder, false);
    return { ref, examples };
  }

  async #safetySet(ref: string): Promise<SafetyPrompt[]> {
    if (ref === '') return readSafetySet();
    const { folder, version } = await this.#folder(ref);
    return readSafetySet(
      folder,
      (version.manifest?.files ?? []).map((file) => file.path),
    );
  }

  async #folder(ref: string): Promise<{ folder: string; version: Version }> {
    const { registry } = this.#task;
    const options = { identity: this.#attempt.identity, signal: this.#attempt.signal };
    const version = await this.#attempt.patiently(() =>
      registry.ready(ref, Kind.DATASET, 'evaluation', options),
    );
    return { folder: await this.#attempt.patiently(() => registry.folder(version, options)), version };
  }
}

function hasChatTemplate(folder: string): boolean {
  if (existsSync(path.join(folder, 'chat_template.jinja'))) return true;
  const file = path.join(folder, 'tokenizer_config.json');
  if (!existsSync(file)) return false;
  return Boolean((JSON.parse(readFileSync(file, 'utf8')) as { chat_template?: unknown }).chat_template);
}
