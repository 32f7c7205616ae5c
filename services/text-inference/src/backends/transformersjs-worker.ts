/**
 * Entry of the thread that runs transformers.js: one request at a time, its n answers as one batch. The library computes
 * and keeps the cache; tokens are chosen and turned into text as our own engine does it, so that a seed means the same.
 */

import { existsSync } from 'node:fs';
import path from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import {
  AutoModelForCausalLM,
  env,
  LogitsProcessor,
  LogitsProcessorList,
  type PreTrainedModel,
  StoppingCriteria,
  StoppingCriteriaList,
  Tensor,
} from '@huggingface/transformers';
import { GrammarError } from '../engine/grammar/grammar-state.ts';
import { Grammars } from '../engine/grammar/grammars.ts';
import { Vocabulary } from '../engine/grammar/vocabulary.ts';
import { logSumExp } from '../engine/sampler-order.ts';
import type { EngineRequest } from '../engine/sequence.ts';
import { loadTokenizer } from '../engine/tokenizer.ts';
import { Answers } from './transformersjs-answers.ts';
import type { FromThread, JobEvent, ScoreJob, ThreadOptions, ToThread } from './transformersjs-protocol.ts';

/** Weights by the suffix of their file, the most exact first. */
const DTYPES = [
  ['', 'fp32'],
  ['_fp16', 'fp16'],
  ['_int8', 'int8'],
  ['_quantized', 'q8'],
  ['_q4', 'q4'],
  ['_q4f16', 'q4f16'],
] as const;

const port = parentPort!;
const send = (message: FromThread) => port.postMessage(message);

/** Chooses every row's token itself and leaves the library no other. */
class ChosenTokens extends LogitsProcessor {
  readonly #answers: Answers;

  constructor(answers: Answers) {
    super();
    this.#answers = answers;
  }

  override _call(_inputIds: bigint[][], logits: Tensor): Tensor {
    const [rows, width] = logits.dims as [number, number];
    const data = logits.data as Float32Array;
    for (let row = 0; row < rows; row++) {
      const scores = data.subarray(row * width, (row + 1) * width);
      const token = this.#answers.next(row, scores);
      scores.fill(Number.NEGATIVE_INFINITY);
      scores[token] = 0;
    }
    return logits;
  }
}

class WhenDone extends StoppingCriteria {
  readonly #done: () => boolean;

  constructor(done: () => boolean) {
    super();
    this.#done = done;
  }

  override _call(inputIds: number[][]): boolean[] {
    const done = this.#done();
    return inputIds.map(() => done);
  }
}

const int64 = (rows: number[][]) =>
  new Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0]!.length]);

function inputs(rows: number[][]) {
  return { input_ids: int64(rows), attention_mask: int64(rows.map((row) => row.map(() => 1))) };
}

/** Computes until all answers have ended or their caller has left. */
async function generate(
  model: PreTrainedModel,
  requests: EngineRequest[],
  answers: Answers,
  left: Int32Array,
): Promise<void> {
  const done = () => answers.done || Atomics.load(left, 0) !== 0;
  if (done()) return;
  const processors = new LogitsProcessorList();
  processors.push(new ChosenTokens(answers));
  const criteria = new StoppingCriteriaList();
  criteria.push(new WhenDone(done));
  await model.generate({
    ...inputs(requests.map(({ prompt }) => prompt)),
    logits_processor: processors,
    stopping_criteria: criteria,
    max_new_tokens: Math.max(...requests.map(({ maxTokens }) => maxTokens)),
    do_sample: false,
    // The folder's own habits would come before our choice, and end rows on their own.
    eos_token_id: null,
    repetition_penalty: 1,
    no_repeat_ngram_size: 0,
    min_length: 0,
    min_new_tokens: null,
    bad_words_ids: null,
    suppress_tokens: null,
    begin_suppress_tokens: null,
    forced_bos_token_id: null,
    forced_eos_token_id: null,
  } as unknown as Parameters<typeof model.generate>[0]);
}

/** Sum of the completion's natural log-probabilities, in one pass. */
async function score(model: PreTrainedModel, { prompt, completion }: ScoreJob): Promise<number> {
  const { logits } = (await model.forward(inputs([[...prompt, ...completion.slice(0, -1)]]))) as {
    logits: Tensor;
  };
  const [, length, width] = logits.dims as [number, number, number];
  if (length !== prompt.length + completion.length - 1)
    throw new Error('the exported graph gives the last position alone');
  const data = logits.to('float32').data as Float32Array;
  return completion.reduce((sum, token, i) => {
    const at = (prompt.length - 1 + i) * width;
    const row = data.subarray(at, at + width);
    return (
      sum +
      row[token]! -
      logSumExp(
        row,
        row.reduce((a, b) => Math.max(a, b)),
      )
    );
  }, 0);
}

function dtypeOf(folder: string) {
  const found = DTYPES.find(([suffix]) => existsSync(path.join(folder, 'onnx', `model${suffix}.onnx`)));
  if (!found) throw new Error('the model folder has no onnx/model.onnx, nor one of another type');
  return found[1];
}

try {
  const { folder, threads } = workerData as ThreadOptions;
  const tokenizer = await loadTokenizer(folder);
  env.allowRemoteModels = false;
  const grammars = new Grammars(new Vocabulary(tokenizer.vocabulary(), tokenizer.endTokens));
  const model = await AutoModelForCausalLM.from_pretrained(path.resolve(folder), {
    local_files_only: true,
    dtype: dtypeOf(folder),
    session_options: { intraOpNumThreads: threads, interOpNumThreads: 1 },
  });
  // One after the other: what comes while a request runs waits for it here.
  let last: Promise<unknown> = Promise.resolve();
  const run = async (message: Exclude<ToThread, { type: 'close' }>) => {
    const { call } = message;
    try {
      if (message.type === 'generate') {
        const { requests } = message;
        const tell = (event: JobEvent) => send({ type: 'event', call, event });
        const answers = new Answers(requests, tokenizer, (spec) => grammars.start(spec), tell);
        await generate(model, requests, answers, message.left);
        send({ type: 'done', call });
      } else if (Atomics.load(message.left, 0) === 0) {
        send({ type: 'scored', call, logProbability: await score(model, message.job) });
      }
    } catch (error) {
      const byConstraint = error instanceof GrammarError;
      const why = error instanceof Error ? error.message : String(error);
      send({ type: 'call-failed', call, byConstraint, message: why });
    }
  };
  port.on('message', (message: ToThread) => {
    last = last.then(async () => {
      if (message.type !== 'close') return run(message);
      await model.dispose();
      port.close();
    });
  });
  const { max_position_embeddings: contextLength, vocab_size: vocabularySize } = model.config as unknown as {
    max_position_embeddings?: number;
    vocab_size?: number;
  };
  if (!contextLength || !vocabularySize)
    throw new Error('config.json does not say max_position_embeddings and vocab_size');
  send({ type: 'ready', contextLength, vocabularySize });
} catch (error) {
  send({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
  port.close();
}
