import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import type { NamedTensor } from '../checkpoint/safetensors.ts';
import type { ClipCheckpoint } from '../checkpoint/vision.ts';
import type { ClipConfig } from '../models/clip-config.ts';
import type { Provider } from '../onnx/provider.ts';
import { textFeeds } from '../vision/clip-texts.ts';
import { BatchError } from './check-batch.ts';
import { type ClipGraphs, clipGraphs } from './clip-graphs.ts';
import { type ClipSpec, clipTrainable, LOGIT_SCALE } from './clip-spec.ts';
import { accumulate } from './optimizer.ts';
import { MASKED } from './packing.ts';
import { type PairTargets, pairTargets } from './pair-targets.ts';
import { type SequenceImage, stackPixels } from './sequence-images.ts';
import type { StepResult } from './trainer.ts';

/** An image and what is said of it. */
export interface ImageTextPair {
  image: SequenceImage;
  /** Tokens, begin and end tokens included. */
  ids: ArrayLike<number>;
  /** Class of the pair: those of one class are no wrong answers to one another. */
  label?: string;
}

export interface ClipTrainingOptions {
  threads: number;
  /** Pairs that go through the towers at once (default all): a batch of more goes in parts, to the same gradients. */
  partSize?: number;
  /** What it computes on (default `cpu`). */
  provider?: Provider;
}

/** A batch's vectors, [B, projectionSize] each. */
interface Embedded {
  images: Float32Array;
  texts: Float32Array;
}

/** Both towers of a CLIP, the loss of a batch of pairs, and its backward pass. Each run blocks its thread. */
export class ClipTrainingGraph {
  readonly config: ClipConfig;
  /** Shape by name of what trains. */
  readonly shapes: ReadonlyMap<string, number[]>;
  readonly #graphs: ClipGraphs;
  readonly #partSize: number;

  private constructor(
    config: ClipConfig,
    shapes: ReadonlyMap<string, number[]>,
    graphs: ClipGraphs,
    partSize: number,
  ) {
    this.config = config;
    this.shapes = shapes;
    this.#graphs = graphs;
    this.#partSize = partSize;
  }

  /** @param checkpoint in float32 @throws CheckpointError for what does not fit */
  static async create(
    checkpoint: ClipCheckpoint,
    spec: ClipSpec,
    { threads, provider = 'cpu', partSize = Number.POSITIVE_INFINITY }: ClipTrainingOptions,
  ): Promise<ClipTrainingGraph> {
    const { config } = checkpoint;
    const shapes = clipTrainable(config, spec);
    const graphs = clipGraphs(checkpoint, spec, { threads, provider });
    // Whatever does not fit is told of now.
    graphs.check();
    return new ClipTrainingGraph(config, shapes, graphs, partSize);
  }

  /**
   * Loss and gradients of a batch at the given parameters: every pair is compared with every other, however many go
   * through the towers at once. Which pairs are no wrong answers to one another `pairTargets` says.
   * @throws BatchError where no two pairs are to be told apart, and for an image of another size
   * @throws RangeError for a text that can't be read
   */
  async step(
    pairs: readonly ImageTextPair[],
    parameters: ReadonlyMap<string, NamedTensor>,
  ): Promise<StepResult> {
    const compared = compare(pairs);
    if (pairs.length > this.#partSize) return this.#inParts(pairs, parameters, compared);
    const session = await this.#graphs.session('whole');
    const outputs = await session.run({
      ...(await this.#inputs(pairs)),
      ...comparedFeeds(compared, pairs.length),
      ...this.#parameters(parameters),
    });
    return { loss: numberOf(outputs.loss), gradients: this.#gradients(outputs) };
  }

  /** Loss alone. @throws as `step` does */
  async loss(pairs: readonly ImageTextPair[], parameters: ReadonlyMap<string, NamedTensor>): Promise<number> {
    const embedded = await this.#embed(this.#parts(pairs), parameters);
    return (await this.#compare(embedded, pairs.length, compare(pairs), parameters)).loss;
  }

  /** Gives native memory back; not while a step runs. */
  async release(): Promise<void> {
    await this.#graphs.release();
  }

  /**
   * The same gradients with a part of the batch in memory at a time (Gao et al. 2021): the vectors of all parts first,
   * then the loss's gradients by them, then each part once more, backwards.
   */
  async #inParts(
    pairs: readonly ImageTextPair[],
    parameters: ReadonlyMap<string, NamedTensor>,
    compared: PairTargets,
  ): Promise<StepResult> {
    const parts = this.#parts(pairs);
    const embedded = await this.#embed(parts, parameters);
    const found = await this.#compare(embedded, pairs.length, compared, parameters);
    const session = await this.#graphs.session('backward');
    const gradients = new Map<string, Float32Array>();
    const { projectionSize } = this.config;
    let from = 0;
    for (const part of parts) {
      const shape = [part.length, projectionSize];
      const of = (all: Float32Array) =>
        new OrtTensor(
          'float32',
          all.subarray(from * projectionSize, (from + part.length) * projectionSize),
          shape,
        );
      const outputs = await session.run({
        ...(await this.#inputs(part)),
        ...this.#parameters(parameters, LOGIT_SCALE),
        by_images: of(found.byImages),
        by_texts: of(found.byTexts),
      });
      accumulate(gradients, this.#gradients(outputs, LOGIT_SCALE), 1);
      from += part.length;
    }
    gradients.set(LOGIT_SCALE, found.byScale);
    const inOrder = [...this.shapes.keys()].map((name) => [name, gradients.get(name)!] as const);
    return { loss: found.loss, gradients: new Map(inOrder) };
  }

  #parts(pairs: readonly ImageTextPair[]): ImageTextPair[][] {
    const parts: ImageTextPair[][] = [];
    for (let at = 0; at < pairs.length; at += this.#partSize)
      parts.push(pairs.slice(at, at + this.#partSize));
    return parts;
  }

  async #embed(
    parts: readonly (readonly ImageTextPair[])[],
    parameters: ReadonlyMap<string, NamedTensor>,
  ): Promise<Embedded> {
    const session = await this.#graphs.session('embed');
    const pairs = parts.reduce((sum, { length }) => sum + length, 0);
    const { projectionSize } = this.config;
    const all = {
      images: new Float32Array(pairs * projectionSize),
      texts: new Float32Array(pairs * projectionSize),
    };
    let at = 0;
    for (const part of parts) {
      const feeds = { ...(await this.#inputs(part)), ...this.#parameters(parameters, LOGIT_SCALE) };
      const { images, texts } = await session.run(feeds);
      all.images.set(images!.data as Float32Array, at);
      all.texts.set(texts!.data as Float32Array, at);
      at += part.length * projectionSize;
    }
    return all;
  }

  async #compare(
    { images, texts }: Embedded,
    pairs: number,
    compared: PairTargets,
    parameters: ReadonlyMap<string, NamedTensor>,
  ) {
    const session = await this.#graphs.session('compare');
    const shape = [pairs, this.config.projectionSize];
    const outputs = await session.run({
      images: new OrtTensor('float32', images, shape),
      texts: new OrtTensor('float32', texts, shape),
      [LOGIT_SCALE]: new OrtTensor('float32', parameters.get(LOGIT_SCALE)!.data, []),
      ...comparedFeeds(compared, pairs),
    });
    return {
      loss: numberOf(outputs.loss),
      byImages: outputs.by_images!.data as Float32Array,
      byTexts: outputs.by_texts!.data as Float32Array,
      byScale: outputs.by_scale!.data as Float32Array,
    };
  }

  async #inputs(pairs: readonly ImageTextPair[]): Promise<Record<string, OrtTensor>> {
    const { vision, text } = this.config;
    const images = pairs.map(({ image }) => image);
    const ids = pairs.map(({ ids }) => ids);
    return { pixels: await stackPixels(images, vision), ...textFeeds(text, ids) };
  }

  #parameters(parameters: ReadonlyMap<string, NamedTensor>, without?: string): Record<string, OrtTensor> {
    const feeds: Record<string, OrtTensor> = {};
    for (const [name, shape] of this.shapes)
      if (name !== without) feeds[name] = new OrtTensor('float32', parameters.get(name)!.data, shape);
    return feeds;
  }

  #gradients(outputs: InferenceSession.OnnxValueMapType, without?: string): Map<string, Float32Array> {
    const names = [...this.shapes.keys()].filter((name) => name !== without);
    return new Map(names.map((name) => [name, outputs[`grad:${name}`]!.data as Float32Array]));
  }
}

/** What tells pairs of a batch from one another. */
function compare(pairs: readonly ImageTextPair[]): PairTargets {
  const keys = pairs.map(({ image, ids, label = '' }) => ({
    text: Array.from(ids).join(),
    image: image.key,
    label,
  }));
  const compared = pairTargets(keys, MASKED);
  if (!compared.tellsApart)
    throw new BatchError(
      'the batch has no two pairs of different text, image and class: there is nothing to tell apart',
    );
  return compared;
}

function comparedFeeds({ targets, mask }: PairTargets, pairs: number): Record<string, OrtTensor> {
  const square = [pairs, pairs];
  return {
    targets: new OrtTensor('float32', targets, square),
    left_out: new OrtTensor('float32', mask, square),
  };
}

const numberOf = (value: InferenceSession.OnnxValueMapType[string] | undefined) =>
  (value!.data as Float32Array)[0]!;
