import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { linear, selectRows, unit } from '../autodiff/ops.ts';
import { Tape } from '../autodiff/tape.ts';
import { float32Checkpoint } from '../checkpoint/checkpoint.ts';
import { readFloat32 } from '../checkpoint/safetensors.ts';
import type { ClipCheckpoint } from '../checkpoint/vision.ts';
import { norm, type TowerWeight, textTower, visionTower } from '../models/clip.ts';
import { type ClipConfig, patchCount } from '../models/clip-config.ts';
import { createSession } from '../onnx/session.ts';
import { WeightSource } from '../onnx/weights.ts';
import { textFeeds } from './clip-texts.ts';
import { packedCheckpoint, packedFeeds, packedProduct, type TowerPrecision } from './packed-towers.ts';

export interface ClipEncoderOptions {
  threads: number;
  /** Where weights are kept that a file has in another form. */
  cacheFolder: string;
  /** Default `float32`. */
  precision?: TowerPrecision;
}

/** Images and texts as vectors of one space, of length 1: the nearer, the more alike. */
export class ClipEncoder {
  readonly config: ClipConfig;
  /** What the product of two embeddings is multiplied with to be a logit. */
  readonly logitScale: number;
  readonly #precision: TowerPrecision;
  readonly #images: InferenceSession;
  readonly #texts: InferenceSession;

  private constructor(
    { config, logitScale }: { config: ClipConfig; logitScale: number },
    precision: TowerPrecision,
    [images, texts]: readonly [InferenceSession, InferenceSession],
  ) {
    this.config = config;
    this.logitScale = logitScale;
    this.#precision = precision;
    this.#images = images;
    this.#texts = texts;
  }

  /** @throws CheckpointError for a tensor that is missing or has another shape */
  static async create(checkpoint: ClipCheckpoint, options: ClipEncoderOptions): Promise<ClipEncoder> {
    const { cacheFolder, threads, precision = 'float32' } = options;
    const { config } = checkpoint;
    const scale = checkpoint.tensors.get('logit_scale');
    const logitScale = scale ? Math.exp(readFloat32(scale.file, scale)[0]!) : Math.exp(2.6592);
    const full = float32Checkpoint(checkpoint, cacheFolder);
    const stored = packedCheckpoint(full, precision, cacheFolder);
    const images = await imageSession(stored, precision, threads);
    return new ClipEncoder({ config, logitScale }, precision, [
      images,
      await textSession(stored, precision, threads),
    ]);
  }

  /**
   * @param pixels [B, channels, imageSize, imageSize], normalised
   * @returns [B, projectionSize]
   */
  async images(pixels: Float32Array): Promise<Float32Array> {
    const { channels, imageSize } = this.config.vision;
    const size = channels * imageSize ** 2;
    if (pixels.length === 0 || pixels.length % size !== 0)
      throw new RangeError(
        `${pixels.length} values are no images of ${channels} x ${imageSize} x ${imageSize}`,
      );
    const shape = [pixels.length / size, channels, imageSize, imageSize];
    const { embeds } = await this.#images.run({
      pixels: new OrtTensor('float32', pixels, shape),
      ...packedFeeds(this.#precision, shape[0]! * (patchCount(this.config.vision) + 1)),
    });
    return embeds!.data as Float32Array;
  }

  /**
   * @param texts tokens of each, begin and end tokens included
   * @returns [texts, projectionSize]
   */
  async texts(texts: readonly (readonly number[])[]): Promise<Float32Array> {
    const feeds = textFeeds(this.config.text, texts);
    const { embeds } = await this.#texts.run({
      ...feeds,
      ...packedFeeds(this.#precision, feeds.ids.dims[0]!),
    });
    return embeds!.data as Float32Array;
  }

  async release(): Promise<void> {
    await this.#images.release();
    await this.#texts.release();
  }
}

/** Weights of one tower as constants. */
export function towerWeights(tape: Tape, weights: WeightSource, prefix: string): TowerWeight {
  return (name, shape) => tape.constant(weights.get(`${prefix}${name}`, shape));
}

async function imageSession(
  checkpoint: ClipCheckpoint,
  precision: TowerPrecision,
  threads: number,
): Promise<InferenceSession> {
  const { vision, projectionSize } = checkpoint.config;
  const tape = new Tape();
  const { graph } = tape;
  const weights = new WeightSource(graph, checkpoint);
  const weight = towerWeights(tape, weights, 'vision_model.');
  const { channels, imageSize } = vision;
  const pixels = graph.input('pixels', 'float32', ['B', channels, imageSize, imageSize]);
  const product = packedProduct(tape, weights, 'vision_model.', precision);
  const hidden = visionTower(tape, vision, pixels, weight, vision.layers, product);
  const byImage = graph.node('Reshape', [
    hidden,
    graph.ints([-1, patchCount(vision) + 1, vision.hiddenSize]),
  ]);
  const classes = tape.constant(graph.node('Gather', [byImage, graph.int(0)], { axis: { int: 1 } }));
  const seen = norm(tape, vision, classes, 'post_layernorm', weight);
  const projection = weights.get('visual_projection.weight', [projectionSize, vision.hiddenSize]);
  graph.output(unit(tape, linear(tape, seen, tape.constant(projection))), 'embeds');
  return createSession(graph.serialize(), weights.files, { threads });
}

async function textSession(
  checkpoint: ClipCheckpoint,
  precision: TowerPrecision,
  threads: number,
): Promise<InferenceSession> {
  const { text, projectionSize } = checkpoint.config;
  const tape = new Tape();
  const { graph } = tape;
  const weights = new WeightSource(graph, checkpoint);
  const inputs = {
    ids: graph.input('ids', 'int64', ['N']),
    positions: graph.input('positions', 'int64', ['N']),
    shape: graph.input('shape', 'int64', [4]),
    mask: graph.input('mask', 'float32', ['T', 'T']),
  };
  const product = packedProduct(tape, weights, 'text_model.', precision);
  const hidden = textTower(tape, text, inputs, towerWeights(tape, weights, 'text_model.'), product);
  const ends = selectRows(tape, hidden, graph.input('ends', 'int64', ['B']));
  const projection = weights.get('text_projection.weight', [projectionSize, text.hiddenSize]);
  graph.output(unit(tape, linear(tape, ends, tape.constant(projection))), 'embeds');
  return createSession(graph.serialize(), weights.files, { threads });
}
