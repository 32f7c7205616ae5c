import { readFile } from 'node:fs/promises';
import type { Question, QuestionMessage, ReplicaSet } from '../clients/replicas.ts';
import { type Example, type ExampleImage, IMAGE_PLACE } from '../engine/data/example.ts';
import { fill, goesThroughChat, type PromptTemplate } from '../engine/data/template.ts';
import { JUDGE_TOKENS, judgeQuestion, readMark } from './judge.ts';
import { type SafetyPrompt, type Verdict, verdictOf } from './safety.ts';
import { type AnsweredRow, measureRow } from './scores.ts';

/** A model on replicas that serve it. */
export interface ServedModel {
  replicas: ReplicaSet;
  /** `models:/name/version` of an adapter; empty for the replicas' own model. */
  adapter: string;
}

/** What was found out about rows before, such as by an attempt that was interrupted. */
export interface Memory<Value> {
  get(row: number): Value | undefined;
  set(row: number, value: Value): void | Promise<void>;
}

/** What to answer, and how. */
export interface EvaluationTask {
  model: ServedModel;
  examples: readonly Example[];
  /** The first of the run's templates. */
  template: PromptTemplate;
  maxTokens: number;
  /** Questions in flight. */
  concurrency: number;
  /** Measures how likely the model finds the references, where its replicas can tell. */
  perplexity: boolean;
  /** Marks each answer. */
  judge?: ServedModel;
  answers?: Memory<string>;
  likelihoods?: Memory<Likelihood>;
  marks?: Memory<number>;
  onAnswer?: (answered: number) => void;
  signal?: AbortSignal;
}

/** Tokens of a reference and the sum of their log probabilities; no tokens where it could not be measured. */
export interface Likelihood {
  tokens: number;
  logProbability: number;
}

/**
 * Has a model answer every row, greedily, several at a time; measures each answer, and has it marked where there is a
 * judge.
 *
 * @returns the rows in order
 * @throws the first error of a question; the others are cancelled
 */
export async function answerRows(task: EvaluationTask): Promise<AnsweredRow[]> {
  const { model, examples, template, maxTokens, judge } = task;
  let answered = 0;
  return atOnce(task, examples, async (example, row, signal) => {
    const { question, answer } = example;
    const asked = await ask(example, template);
    const output = await remembered(task.answers, row, () =>
      model.replicas.answer(model.adapter, asked, maxTokens, signal),
    );
    const measured = measureRow(row, question, answer, output);
    if (task.perplexity) {
      const found = await remembered(task.likelihoods, row, () =>
        model.replicas.score(model.adapter, asked, answer, signal),
      );
      Object.assign(measured, found);
    }
    if (judge) {
      measured.judge = await remembered(task.marks, row, async () =>
        readMark(
          await judge.replicas.answer(
            judge.adapter,
            judgeQuestion(question, answer, output),
            JUDGE_TOKENS,
            signal,
          ),
        ),
      );
    }
    task.onAnswer?.(++answered);
    return measured;
  });
}

/** A prompt of a safety set with what the model said to it. */
export interface GradedPrompt {
  prompt: SafetyPrompt;
  output: string;
  verdict: Verdict;
}

/** Asks a safety set, each prompt as a user would ask it. */
export function askSafety(
  task: Omit<EvaluationTask, 'examples' | 'perplexity' | 'judge'>,
  prompts: readonly SafetyPrompt[],
): Promise<GradedPrompt[]> {
  const { model, template, maxTokens } = task;
  let answered = 0;
  return atOnce(task, prompts, async (prompt, row, signal) => {
    const asked = await ask({ row, question: prompt.prompt, answer: '' }, template);
    const output = await remembered(task.answers, row, () =>
      model.replicas.answer(model.adapter, asked, maxTokens, signal),
    );
    task.onAnswer?.(++answered);
    return { prompt, output, verdict: verdictOf(prompt, output) };
  });
}

/** A row as a model is asked it: a conversation as it stands up to its last turn, a question in its template. */
export async function ask(example: Example, template: PromptTemplate): Promise<Question> {
  const text = () => fill(template, example.question);
  if (!goesThroughChat(template, example)) return { prompt: text() };
  const messages = example.messages?.slice(0, -1) ?? [{ role: 'user', content: text() }];
  return { messages: example.images ? await withImages(messages, example.images) : messages };
}

/** Each message with the images whose places it has. */
async function withImages(
  messages: QuestionMessage[],
  images: readonly ExampleImage[],
): Promise<QuestionMessage[]> {
  const bytes = await Promise.all(images.map(({ file }) => readFile(file)));
  let next = 0;
  return messages.map(({ role, content }) => {
    const places = content.split(IMAGE_PLACE).length - 1;
    next += places;
    return { role, content, images: bytes.slice(next - places, next) };
  });
}

async function remembered<Value>(
  memory: Memory<Value> | undefined,
  row: number,
  find: () => Promise<Value>,
): Promise<Value> {
  const known = memory?.get(row);
  if (known !== undefined) return known;
  const value = await find();
  await memory?.set(row, value);
  return value;
}

/** Runs over all items, several at a time; the first error stops the others. */
async function atOnce<Item, Result>(
  { concurrency, signal: outer }: { concurrency: number; signal?: AbortSignal },
  items: readonly Item[],
  run: (item: Item, index: number, signal: AbortSignal) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = new Array(items.length);
  const stop = new AbortController();
  const signal = outer ? AbortSignal.any([outer, stop.signal]) : stop.signal;
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      signal.throwIfAborted();
      const index = next++;
      results[index] = await run(items[index]!, index, signal);
    }
  };
  const workers = Array.from({ length: Math.max(1, concurrency) }, worker);
  try {
    await Promise.all(workers);
  } catch (error) {
    stop.abort();
    await Promise.allSettled(workers);
    throw error;
  }
  return results;
}
