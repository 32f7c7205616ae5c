import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import type { Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  type EvaluationResult,
  EvaluationResultSchema,
  EvaluationRowSchema,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { ReplicaPool, ReplicaSet } from '../clients/replicas.ts';
import type { Example } from '../engine/data/check.ts';
import { checkFolder } from '../engine/data/files.ts';
import { parseTemplates } from '../engine/data/template.ts';
import { type AnsweredRow, answerRows, score } from '../evaluation/evaluate.ts';
import { AnswersFile } from './answers-file.ts';
import type { Attempt } from './attempt.ts';
import { within } from './progress.ts';

/** Where an evaluation finds things. */
export interface JobEvaluation {
  replicas: ReplicaPool;
  base: Version;
  /** `models:/name/version` of the draft. */
  adapter: string;
  modelFolder: string;
  datasetFolder: string;
  answersFolder: string;
  concurrency: number;
}

/** Answered rows of one report: a message holds only so many. */
const ROWS_A_REPORT = 200;
const FIELDS = { base: 'baseResult', tuned: 'tunedResult' } as const;

/**
 * Has the base (where asked for) and the tuned model answer the validation rows on deployed replicas, and reports
 * both results. What an earlier attempt has measured is not measured again.
 *
 * @returns metrics for the version: `bleu`, `chrf`, `exact_match`, and `base_` before each for the base
 */
export async function evaluateJob(attempt: Attempt, task: JobEvaluation): Promise<Record<string, number>> {
  const { job, progress } = attempt;
  const { evaluation, config } = job.spec!;
  const { examples } = await checkFolder(task.datasetFolder, false);
  const [template] = parseTemplates(config!.instructionTemplates, hasChatTemplate(task.modelFolder));
  const sides = [...(evaluation!.includeBase ? (['base'] as const) : []), 'tuned' as const];
  progress.totalRows = examples.length * sides.length;
  progress.evaluatedRows = 0;
  await using replicas = task.replicas.open(task.base.ref, { identity: attempt.identity });
  const results: Partial<Record<'base' | 'tuned', EvaluationResult>> = {};
  const startMs = Date.now();
  let measured = 0;
  for (const side of sides) {
    const known = side === 'base' ? job.baseResult : job.tunedResult;
    const before = progress.evaluatedRows;
    if (known) {
      results[side] = known;
      progress.evaluatedRows = before + examples.length;
      continue;
    }
    const count = (answered: number) => {
      measured++;
      progress.evaluatedRows = before + answered;
      within(progress, progress.evaluatedRows / progress.totalRows);
      const left = progress.totalRows - progress.evaluatedRows;
      progress.remainingSeconds = ((Date.now() - startMs) / 1000 / measured) * left;
    };
    const adapter = side === 'base' ? '' : task.adapter;
    const rest = { side, adapter, examples, template: template!, count };
    try {
      results[side] = await measure(attempt, task, replicas, rest);
    } catch (error) {
      // A job that ends here registers nothing; one that is taken up again loads its adapter anew.
      if (adapter) await replicas.unload(adapter);
      throw error;
    }
  }
  return metricsOf(results);
}

interface Side {
  side: 'base' | 'tuned';
  adapter: string;
  examples: readonly Example[];
  template: ReturnType<typeof parseTemplates>[number];
  count: (answered: number) => void;
}

async function measure(
  attempt: Attempt,
  task: JobEvaluation,
  replicas: ReplicaSet,
  { side, adapter, examples, template, count }: Side,
): Promise<EvaluationResult> {
  const startMs = Date.now();
  if (adapter) await attempt.patiently(() => replicas.load(adapter, attempt.signal));
  const file = new AnswersFile(task.answersFolder, side);
  const known = await file.read();
  const rows = await answerRows({
    replicas,
    adapter,
    examples,
    template,
    maxTokens: attempt.job.spec!.evaluation!.maxTokens,
    concurrency: task.concurrency,
    known,
    signal: attempt.signal,
    onAnswer: async ({ row, output }, answered) => {
      count(answered);
      if (!known.has(row)) await file.append(row, output);
    },
  });
  const result = create(EvaluationResultSchema, {
    model: adapter || task.base.ref,
    ...score(rows),
    rows: rows.length,
    seconds: (Date.now() - startMs) / 1000,
  });
  await report(attempt, side, result, rows);
  return result;
}

/** Rows first and scores last: once the scores are known, a later attempt counts the side as measured. */
async function report(
  attempt: Attempt,
  side: 'base' | 'tuned',
  result: EvaluationResult,
  rows: readonly AnsweredRow[],
): Promise<void> {
  for (let at = 0; at < rows.length; at += ROWS_A_REPORT) {
    const rowResults = rows.slice(at, at + ROWS_A_REPORT).map((row) => create(EvaluationRowSchema, row));
    await attempt.report({ [FIELDS[side]]: create(EvaluationResultSchema, { rowResults }) });
  }
  await attempt.report({ [FIELDS[side]]: result });
}

function metricsOf(results: Partial<Record<'base' | 'tuned', EvaluationResult>>): Record<string, number> {
  const metrics: Record<string, number> = {};
  for (const [side, prefix] of [
    ['tuned', ''],
    ['base', 'base_'],
  ] as const) {
    const result = results[side];
    if (!result) continue;
    metrics[`${prefix}bleu`] = result.bleu;
    metrics[`${prefix}chrf`] = result.chrf;
    metrics[`${prefix}exact_match`] = result.exactMatch;
  }
  return metrics;
}

function hasChatTemplate(folder: string): boolean {
  if (existsSync(path.join(folder, 'chat_template.jinja'))) return true;
  const file = path.join(folder, 'tokenizer_config.json');
  if (!existsSync(file)) return false;
  return Boolean((JSON.parse(readFileSync(file, 'utf8')) as { chat_template?: unknown }).chat_template);
}
