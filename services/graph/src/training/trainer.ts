import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { chunkBounds } from '../autodiff/head-loss.ts';
import type { Products } from '../autodiff/tape.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { NamedTensor } from '../checkpoint/safetensors.ts';
import type { ModelConfig } from '../models/config.ts';
import { ropeTables } from '../models/rope.ts';
import type { Provider } from '../onnx/provider.ts';
import { createSession } from '../onnx/session.ts';
import { allTrainable, type BuiltGraph, buildTraining, type Sight } from './build.ts';
import { BatchError, checkBatch } from './check-batch.ts';
import { keepMask, mix } from './dropout.ts';
import type { FrozenPrecision } from './frozen-linear.ts';
import type { TrainableSpec } from './methods.ts';
import { PARTS, queryParts } from './packed-attention.ts';
import { type PackedBatch, packSequences, type Sequence } from './packing.ts';
import { SightFeeds } from './sight-feeds.ts';

export interface TrainingOptions {
  threads: number;
  /** Longest sequence that will come, in tokens; sizes the rotary tables. */
  maxLength: number;
  /** Computes each layer again in the backward pass: less memory, more time. Default: for QLoRA alone. */
  checkpointing?: boolean;
  /**
   * `int8`: the frozen linear layers' forward products; QLoRA has NF4 instead, whatever stands here. `float16`: all
   * matrix products, forward and backward, those of NF4 excepted; made for GPUs, the CPU computes them in float32 and
   * rounds.
   */
  forwardPrecision?: 'float32' | 'int8' | 'float16';
  /** What it computes on (default `cpu`). */
  provider?: Provider;
  /** For a model that sees: its tower and projector, and what of them trains. */
  sight?: Sight;
  /** Bytes of what a frozen tower made of images that are kept (default 1 GiB). */
  imageCacheBytes?: number;
}

const IMAGE_CACHE_BYTES = 2 ** 30;

/** Loss and gradients of one micro-batch. */
export interface StepResult {
  /** Mean cross entropy over the labels, nats. */
  loss: number;
  /** By parameter name, each in its parameter's shape. */
  gradients: Map<string, Float32Array>;
}

/**
 * A model with its backward pass in one graph. Parameters are inputs that live in typed arrays on this side; frozen
 * weights are constants in their files and get no gradient. Each run blocks the thread that calls it.
 */
export class TrainingGraph {
  readonly config: ModelConfig;
  /** Shape by name of what trains. */
  readonly shapes: ReadonlyMap<string, number[]>;
  readonly #checkpoint: Checkpoint;
  readonly #spec: TrainableSpec;
  readonly #options: TrainingOptions;
  readonly #built: BuiltGraph;
  readonly #session: InferenceSession;
  readonly #tables: Record<string, OrtTensor>;
  readonly #sight: SightFeeds | undefined;
  /** The forward pass alone, made when it is first asked for. */
  #forward: InferenceSession | undefined;

  private constructor(
    checkpoint: Checkpoint,
    spec: TrainableSpec,
    options: TrainingOptions,
    built: BuiltGraph,
    session: InferenceSession,
    sight: SightFeeds | undefined,
  ) {
    this.#checkpoint = checkpoint;
    this.config = checkpoint.config;
    this.shapes = allTrainable(checkpoint.config, spec, options.sight);
    this.#spec = spec;
    this.#options = options;
    this.#built = built;
    this.#session = session;
    this.#sight = sight;
    this.#tables = rotaryTables(checkpoint.config, this.#positions);
  }

  /**
   * @param checkpoint in float32, for `float16` as `float16Checkpoint` stores it; for `full` only its configuration is read
   * @throws CheckpointError for what does not fit
   */
  static async create(
    checkpoint: Checkpoint,
    spec: TrainableSpec,
    options: TrainingOptions,
  ): Promise<TrainingGraph> {
    const built = buildTraining(checkpoint, spec, {
      positions: options.maxLength + prefixTokens(spec),
      gradients: true,
      checkpointing: options.checkpointing ?? spec.method === 'qlora',
      precision: precisionOf(spec, options),
      products: productsOf(options),
      ...(options.sight ? { sight: options.sight } : {}),
    });
    const session = await createSession(built.model, built.files, sessionOptions(options));
    const { sight, threads, imageCacheBytes: cacheBytes = IMAGE_CACHE_BYTES } = options;
    const feeds = sight && (await SightFeeds.create(sight, { threads, cacheBytes }));
    return new TrainingGraph(checkpoint, spec, options, built, session, feeds);
  }

  /**
   * Loss and gradients of a micro-batch at the given parameters.
   * @param seed decides what dropout drops
   * @param lossScale a power of two: float16 gradients are taken of the loss times this, so that small ones are not lost,
   *   and divided by it here; those that were too large come as infinite or as no number
   * @throws BatchError before anything is computed
   */
  async step(
    sequences: readonly Sequence[],
    parameters: ReadonlyMap<string, NamedTensor>,
    seed = 0,
    lossScale = 1,
  ): Promise<StepResult> {
    const batch = this.#pack(sequences);
    const outputs = await this.#session.run({
      ...this.#feeds(this.#session, batch, parameters),
      ...(await this.#sight?.of(sequences, batch.ids)),
      ...this.#dropout(batch.tokens, seed),
      ...(this.isHalf ? { loss_scale: new OrtTensor('float32', Float32Array.of(lossScale), []) } : {}),
    });
    const gradients = new Map<string, Float32Array>();
    for (const name of this.shapes.keys()) {
      const gradient = outputs[`grad:${name}`]!.data as Float32Array;
      if (this.isHalf) for (let i = 0; i < gradient.length; i++) gradient[i]! /= lossScale;
      gradients.set(name, gradient);
    }
    return { loss: (outputs.loss!.data as Float32Array)[0]!, gradients };
  }

  /** Loss alone, without dropout. The runtime runs a whole graph whatever is fetched: this has a graph of its own. */
  async loss(sequences: readonly Sequence[], parameters: ReadonlyMap<string, NamedTensor>): Promise<number> {
    this.#forward ??= await this.#createForward();
    const batch = this.#pack(sequences);
    const outputs = await this.#forward.run({
      ...this.#feeds(this.#forward, batch, parameters),
      ...(await this.#sight?.of(sequences, batch.ids)),
    });
    return (outputs.loss!.data as Float32Array)[0]!;
  }

  /** Gives native memory back; not while a step runs. */
  async release(): Promise<void> {
    await this.#session.release();
    await this.#forward?.release();
    await this.#sight?.release();
  }

  /** Whether gradients want a loss scale. */
  get isHalf(): boolean {
    return this.#options.forwardPrecision === 'float16';
  }

  get #positions(): number {
    return this.#options.maxLength + prefixTokens(this.#spec);
  }

  async #createForward(): Promise<InferenceSession> {
    const built = buildTraining(this.#checkpoint, this.#spec, {
      positions: this.#positions,
      gradients: false,
      checkpointing: false,
      precision: precisionOf(this.#spec, this.#options),
      products: productsOf(this.#options),
      frozen: this.#built.frozen,
      ...(this.#options.sight ? { sight: this.#options.sight } : {}),
    });
    return createSession(built.model, built.files, sessionOptions(this.#options));
  }

  #pack(sequences: readonly Sequence[]): PackedBatch {
    const { vocabSize, slidingWindow } = this.config;
    checkBatch(sequences, { vocabSize, maxLength: this.#options.maxLength, needsLabels: true });
    if (this.#sight) this.#sight.check(sequences);
    else if (sequences.some(({ images }) => images && images.length > 0))
      throw new BatchError('the batch has images and the model sees none: give its sight');
    return packSequences(sequences, slidingWindow, prefixTokens(this.#spec), PARTS);
  }

  #dropout(tokens: number, seed: number): Record<string, OrtTensor> {
    const { dropout } = this.#built;
    if (dropout.size === 0 || !('lora' in this.#spec)) return {};
    const keep = 1 - this.#spec.lora.loraDropout!;
    const feeds: Record<string, OrtTensor> = {
      dropout_scale: new OrtTensor('float32', Float32Array.of(1 / keep), [1]),
    };
    for (const [i, [module, inputs]] of [...dropout].entries()) {
      const mask = keepMask(tokens * inputs, keep, mix(seed, i));
      feeds[`keep:${module}`] = new OrtTensor('bool', mask, [tokens, inputs]);
    }
    return feeds;
  }

  #feeds(
    session: InferenceSession,
    batch: PackedBatch,
    parameters: ReadonlyMap<string, NamedTensor>,
  ): Record<string, OrtTensor> {
    const { tokens, sequences, longest, prefix } = batch;
    const slots = sequences * longest;
    const feeds: Record<string, OrtTensor> = {
      ...this.#tables,
      ...this.#built.frozen.feeds,
      input_ids: new OrtTensor('int64', batch.ids, [tokens]),
      position_ids: new OrtTensor('int64', batch.positions, [1, tokens]),
      slot_rows: new OrtTensor('int64', batch.slotRows, [slots]),
      slot_mask: new OrtTensor('float32', batch.slotMask, [slots, 1]),
      row_slots: new OrtTensor('int64', batch.rowSlots, [tokens]),
      attention_mask: new OrtTensor('float32', batch.mask, [sequences, 1, 1, longest, prefix + longest]),
      slot_shape: new OrtTensor(
        'int64',
        BigInt64Array.from([BigInt(sequences), BigInt(longest), -1n, BigInt(this.config.headDim)]),
        [4],
      ),
      label_rows: new OrtTensor('int64', batch.labelRows, [batch.labelRows.length]),
      labels: new OrtTensor('int64', batch.labels, [batch.labels.length]),
    };
    if (session.inputNames.includes('label_chunks')) {
      const bounds = chunkBounds(batch.labels.length);
      feeds.label_chunks = new OrtTensor('int64', bounds, [bounds.length]);
    }
    if (session.inputNames.includes('query_parts')) {
      const bounds = queryParts(longest);
      feeds.query_parts = new OrtTensor('int64', bounds, [bounds.length]);
    }
    for (const [name, shape] of this.shapes) {
      feeds[name] = new OrtTensor('float32', parameters.get(name)!.data, shape);
    }
    return feeds;
  }
}

/**
 * Weights are mapped from their files and not packed into copies, but for 8-bit ones, which are slow as they lie; what
 * is no longer needed is used again.
 */
const sessionOptions = ({ threads, forwardPrecision, provider = 'cpu' }: TrainingOptions) => ({
  threads,
  provider,
  prepack: forwardPrecision === 'int8',
  memoryPattern: false,
});

const precisionOf = (spec: TrainableSpec, options: TrainingOptions): FrozenPrecision =>
  spec.method === 'qlora' ? 'nf4' : options.forwardPrecision === 'int8' ? 'int8' : 'float32';

function productsOf({ forwardPrecision, provider }: TrainingOptions): Products {
  if (forwardPrecision !== 'float16') return 'float32';
  return provider === 'cuda' ? 'float16' : 'emulated float16';
}

/** Virtual tokens that stand before each sequence. */
function prefixTokens(spec: TrainableSpec): number {
  return spec.method === 'ptuning_v2' ? spec.prefix.numVirtualTokens : 0;
}

function rotaryTables(config: ModelConfig, positions: number): Record<string, OrtTensor> {
  const { cos, sin } = ropeTables(config, positions);
  const table = (data: Float32Array) => new OrtTensor('float32', data, [positions, config.headDim / 2]);
  return { rope_cos: table(cos), rope_sin: table(sin), rope_sin_back: table(sin.map((x) => -x)) };
}
