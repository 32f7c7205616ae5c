/** An exported model in transformers.js: the library computes and keeps the cache, tokens are chosen by ours. */

import { existsSync } from 'node:fs';
import path from 'node:path';
import {
  AutoModelForCausalLM,
  AutoModelForImageTextToText,
  cat,
  LogitsProcessor,
  LogitsProcessorList,
  type PreTrainedModel,
  StoppingCriteria,
  StoppingCriteriaList,
  Tensor,
} from '@huggingface/transformers';
import { logSumExp } from '../engine/sampler-order.ts';
import type { Answers } from './transformersjs-answers.ts';
import { type ExportedVision, sizesOf } from './transformersjs-families.ts';
import { type PlainTensor, tensorOf } from './transformersjs-looks.ts';
import type { GenerateJob, ScoreJob } from './transformersjs-protocol.ts';

/** Weights by the suffix of their file, the most exact first. */
const DTYPES = [
  ['', 'fp32'],
  ['_fp16', 'fp16'],
  ['_int8', 'int8'],
  ['_quantized', 'q8'],
  ['_q4', 'q4'],
  ['_q4f16', 'q4f16'],
] as const;

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

interface GenerationTokens {
  decoder_start_token_id?: number | null;
  forced_bos_token_id?: number | null;
  bos_token_id?: number | null;
}

/** What transformers.js has of models that read images, beside the types that it gives. */
interface ImageEncoder {
  encode_image(inputs: object): Promise<Tensor>;
}

/** What transformers.js has of Qwen2-VL beside the types that it gives. */
interface RopeIndex {
  get_rope_index?(ids: Tensor, images?: Tensor, videos?: Tensor, mask?: Tensor): [Tensor, Tensor];
}

export class ExportedModel {
  readonly #model: PreTrainedModel;
  /** Tokens that stand before an answer that is a sequence of its own; undefined where it stands behind the prompt. */
  readonly #begin: number[] | undefined;
  readonly contextLength: number;
  readonly vocabularySize: number;

  /** @throws Error naming a file that is missing, or what config.json does not say */
  static async open(
    folder: string,
    vision: ExportedVision | undefined,
    threads: number,
  ): Promise<ExportedModel> {
    const options = {
      local_files_only: true,
      session_options: { intraOpNumThreads: threads, interOpNumThreads: 1 },
    };
    const at = path.resolve(folder);
    if (!vision) {
      const dtype = dtypeOf(folder, 'model');
      return new ExportedModel(await AutoModelForCausalLM.from_pretrained(at, { ...options, dtype }));
    }
    const dtype = Object.fromEntries(vision.graphs.map((graph) => [graph, dtypeOf(folder, graph)]));
    return new ExportedModel(await AutoModelForImageTextToText.from_pretrained(at, { ...options, dtype }));
  }

  private constructor(model: PreTrainedModel) {
    this.#model = model;
    const config = model.config as unknown as GenerationTokens & {
      is_encoder_decoder?: boolean;
      text_config?: GenerationTokens;
    };
    this.#begin = config.is_encoder_decoder
      ? beginOf({ ...config.text_config, ...config, ...(model.generation_config as GenerationTokens | null) })
      : undefined;
    const { contextLength, vocabularySize } = sizesOf(config as Parameters<typeof sizesOf>[0]);
    this.contextLength = contextLength;
    this.vocabularySize = vocabularySize;
    checkWidths(model as unknown as ImageEncoder, widthOf(config as Widths));
    correctTextPositions(model as RopeIndex);
  }

  /** Tokens before an answer that is a sequence of its own; undefined where answers stand behind their prompts. */
  get answersApart(): number | undefined {
    return this.#begin?.length;
  }

  /** Computes until all answers have ended or their caller has left. */
  async generate({ requests, seen }: GenerateJob, answers: Answers, left: Int32Array): Promise<void> {
    const done = () => answers.done || Atomics.load(left, 0) !== 0;
    if (done()) return;
    const processors = new LogitsProcessorList();
    processors.push(new ChosenTokens(answers));
    const criteria = new StoppingCriteriaList();
    criteria.push(new WhenDone(done));
    const model = this.#model;
    const begin = this.#begin;
    await model.generate({
      ...inputs(requests.map(({ prompt }) => prompt)),
      ...imageInputs(seen, requests.length),
      ...(begin ? { decoder_input_ids: int64(requests.map(() => begin)) } : {}),
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
  async score({ prompt, completion, seen }: ScoreJob): Promise<number> {
    const given = completion.slice(0, -1);
    const begin = this.#begin;
    const { logits } = (await this.#model.forward({
      ...inputs([begin ? prompt : [...prompt, ...given]]),
      ...imageInputs(seen, 1),
      ...(begin ? { decoder_input_ids: int64([[...begin, ...given]]) } : {}),
    })) as { logits: Tensor };
    const [, length, width] = logits.dims as [number, number, number];
    const before = (begin ?? prompt).length;
    if (length !== before + given.length) throw new Error('the exported graph gives the last position alone');
    const data = logits.to('float32').data as Float32Array;
    return completion.reduce((sum, token, i) => {
      const at = (before - 1 + i) * width;
      const row = data.subarray(at, at + width);
      const best = row.reduce((a, b) => Math.max(a, b));
      return sum + row[token]! - logSumExp(row, best);
    }, 0);
  }

  async dispose(): Promise<void> {
    await this.#model.dispose();
  }
}

const int64 = (rows: readonly number[][]) =>
  new Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0]!.length]);

function inputs(rows: number[][]) {
  return { input_ids: int64(rows), attention_mask: int64(rows.map((row) => row.map(() => 1))) };
}

/** Every answer's row takes the images of its own. */
function imageInputs(seen: Record<string, PlainTensor> | undefined, rows: number): Record<string, Tensor> {
  const own = Object.entries(seen ?? {}).map(([name, plain]) => [name, tensorOf(plain)] as const);
  const repeat = (tensor: Tensor) => (rows === 1 ? tensor : cat(new Array<Tensor>(rows).fill(tensor), 0));
  return Object.fromEntries(own.map(([name, tensor]) => [name, repeat(tensor)]));
}

/** An answer's start, and the token that its model is made to begin with. */
function beginOf({ decoder_start_token_id, forced_bos_token_id, bos_token_id }: GenerationTokens): number[] {
  const begin = [decoder_start_token_id ?? bos_token_id, forced_bos_token_id];
  const tokens = begin.filter((token) => typeof token === 'number');
  if (tokens.length === 0) throw new Error('config.json does not say decoder_start_token_id');
  return tokens;
}

interface Widths {
  hidden_size?: number;
  d_model?: number;
  text_config?: { hidden_size?: number; d_model?: number };
}

function widthOf({ hidden_size, d_model, text_config: text = {} }: Widths): number | undefined {
  return text.hidden_size ?? text.d_model ?? hidden_size ?? d_model;
}

/** The library writes what an image gives over embeddings without looking how long either is. */
function checkWidths(model: ImageEncoder, width: number | undefined): void {
  const own = model.encode_image.bind(model);
  model.encode_image = async (inputs) => {
    const features = await own(inputs);
    const given = features.dims.at(-1);
    if (width !== undefined && given !== width)
      throw new Error(`onnx/vision_encoder gives ${given} numbers a token; the decoder reads ${width}`);
    return features;
  };
}

/**
 * Behind a prompt without images the next position of Qwen2-VL is the prompt's length. transformers.js 4.3 adds that length
 * twice more (its reference subtracts it from the last position), and what follows would stand far from what it follows.
 */
function correctTextPositions(model: RopeIndex): void {
  const own = model.get_rope_index?.bind(model);
  if (!own) return;
  model.get_rope_index = (ids, images, videos, mask) => {
    const [positions, deltas] = own(ids, images, videos, mask);
    // Rows are never padded here: positions and tokens are equally many.
    return [positions, images || videos ? deltas : int64(Array.from({ length: ids.dims[0]! }, () => [0]))];
  };
}

function dtypeOf(folder: string, graph: string) {
  const found = DTYPES.find(([suffix]) => existsSync(path.join(folder, 'onnx', `${graph}${suffix}.onnx`)));
  if (!found) throw new Error(`the model folder has no onnx/${graph}.onnx, nor one of another type`);
  return found[1];
}
