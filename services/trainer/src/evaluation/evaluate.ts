import type { Question, ReplicaSet } from '../clients/replicas.ts';
import type { Example } from '../engine/data/check.ts';
import { fill, type PromptTemplate } from '../engine/data/template.ts';
import { bleuSignature, corpusBleu, sentenceBleu } from '../engine/metrics/bleu.ts';
import { corpusChrf } from '../engine/metrics/chrf.ts';

/** A row with a model's answer to it. */
export interface AnsweredRow {
  /** From 0, in the order of the data set's usable rows. */
  row: number;
  question: string;
  reference: string;
  output: string;
  /** Sentence BLEU, 0 to 100. */
  bleu: number;
}

/** Scores of a model on a data set. */
export interface Scores {
  /** Corpus BLEU, 0 to 100, sacrebleu's with tokenizer zh. */
  bleu: number;
  /** Corpus chrF, 0 to 100. */
  chrf: number;
  /** Share of answers that equal their reference but for white space around them, 0 to 1. */
  exactMatch: number;
  bleuSignature: string;
}

/** What to answer, and how. */
export interface EvaluationTask {
  replicas: ReplicaSet;
  /** `models:/name/version` of an adapter; empty for the base. */
  adapter: string;
  examples: readonly Example[];
  /** The first of the run's templates. */
  template: PromptTemplate;
  maxTokens: number;
  /** Questions in flight. */
  concurrency: number;
  /** Rows that an earlier attempt has answered, by row. */
  known?: ReadonlyMap<number, string>;
  onAnswer?: (row: AnsweredRow, answered: number) => void | Promise<void>;
  signal?: AbortSignal;
}

const BLEU_OPTIONS = { tokenize: 'zh' } as const;

/**
 * Has a model answer every row, greedily, several at a time.
 *
 * @returns the rows in order
 * @throws the first error of a question; the others are cancelled
 */
export async function answerRows(task: EvaluationTask): Promise<AnsweredRow[]> {
  const rows: AnsweredRow[] = new Array(task.examples.length);
  const stop = new AbortController();
  const signal = task.signal ? AbortSignal.any([task.signal, stop.signal]) : stop.signal;
  let next = 0;
  let answered = 0;
  const worker = async () => {
    while (next < task.examples.length) {
      signal.throwIfAborted();
      const row = next++;
      const { question, answer } = task.examples[row]!;
      const known = task.known?.get(row);
      const output =
        known ??
        (await task.replicas.answer(task.adapter, ask(question, task.template), task.maxTokens, signal));
      const bleu = sentenceBleu(output, [answer], BLEU_OPTIONS).score;
      rows[row] = { row, question, reference: answer, output, bleu };
      answered++;
      await task.onAnswer?.(rows[row], answered);
    }
  };
  const workers = Array.from({ length: Math.max(1, task.concurrency) }, worker);
  try {
    await Promise.all(workers);
  } catch (error) {
    stop.abort();
    await Promise.allSettled(workers);
    throw error;
  }
  return rows;
}

/** Scores of answered rows. */
export function score(rows: readonly AnsweredRow[]): Scores {
  const outputs = rows.map((row) => row.output);
  const references = rows.map((row) => [row.reference]);
  const exact = rows.filter((row) => row.output.trim() === row.reference.trim()).length;
  return {
    bleu: corpusBleu(outputs, references, BLEU_OPTIONS).score,
    chrf: corpusChrf(outputs, references),
    exactMatch: rows.length > 0 ? exact / rows.length : 0,
    bleuSignature: bleuSignature(BLEU_OPTIONS),
  };
}

function ask(question: string, template: PromptTemplate): Question {
  const text = fill(template, question);
  return template.chat ? { messages: [{ role: 'user', content: text }] } : { prompt: text };
}
