import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { Tape } from '../autodiff/tape.ts';
import { float32Checkpoint } from '../checkpoint/checkpoint.ts';
import type { LlavaCheckpoint } from '../checkpoint/vision.ts';
import { patchCount } from '../models/clip-config.ts';
import { imageTokenCount, imageTokens } from '../models/llava.ts';
import type { LlavaConfig } from '../models/llava-config.ts';
import { createSession } from '../onnx/session.ts';
import { WeightSource } from '../onnx/weights.ts';
import { towerWeights } from './clip-encoder.ts';
import { packedCheckpoint, packedFeeds, packedProduct, type TowerPrecision } from './packed-towers.ts';

/** What a LLaVA's decoder reads in the place of an image: its tower and its projector. */
export class ImageTokens {
  readonly config: LlavaConfig;
  readonly #precision: TowerPrecision;
  readonly #session: InferenceSession;

  private constructor(config: LlavaConfig, precision: TowerPrecision, session: InferenceSession) {
    this.config = config;
    this.#precision = precision;
    this.#session = session;
  }

  /**
   * `cacheFolder` is where weights in half precision are kept as float32, and those of the tower's layers packed.
   * @throws CheckpointError for a tensor that is missing or has another shape
   */
  static async create(
    checkpoint: LlavaCheckpoint,
    options: { threads: number; cacheFolder: string; precision?: TowerPrecision },
  ): Promise<ImageTokens> {
    const { config } = checkpoint;
    const { vision } = config;
    const tensors = new Map([
      ...checkpoint.tower.tensors,
      ...[...checkpoint.projector.tensors].map(([name, entry]) => [`projector.${name}`, entry] as const),
    ]);
    const { threads, cacheFolder, precision = 'float32' } = options;
    const full = float32Checkpoint({ tensors }, cacheFolder);
    const stored = packedCheckpoint(full, precision, cacheFolder);
    const tape = new Tape();
    const { graph } = tape;
    const weights = new WeightSource(graph, stored);
    const pixels = graph.input('pixels', 'float32', [
      'B',
      vision.channels,
      vision.imageSize,
      vision.imageSize,
    ]);
    const parts = {
      tower: towerWeights(tape, weights, ''),
      projector: towerWeights(tape, weights, 'projector.'),
    };
    const product = packedProduct(tape, weights, '', precision);
    const tokens = imageTokens(tape, config, pixels, parts, product);
    graph.output(tokens, 'tokens');
    const session = await createSession(graph.serialize(), weights.files, { threads });
    return new ImageTokens(config, precision, session);
  }

  /** Tokens that an image takes. */
  get count(): number {
    return imageTokenCount(this.config);
  }

  /**
   * @param pixels [B, channels, imageSize, imageSize], normalised
   * @returns [B * count, hidden size of the decoder]
   */
  async run(pixels: Float32Array): Promise<Float32Array> {
    const { channels, imageSize } = this.config.vision;
    const size = channels * imageSize ** 2;
    if (pixels.length === 0 || pixels.length % size !== 0)
      throw new RangeError(
        `${pixels.length} values are no images of ${channels} x ${imageSize} x ${imageSize}`,
      );
    const shape = [pixels.length / size, channels, imageSize, imageSize];
    const rows = shape[0]! * (patchCount(this.config.vision) + 1);
    const { tokens } = await this.#session.run({
      pixels: new OrtTensor('float32', pixels, shape),
      ...packedFeeds(this.#precision, rows),
    });
    return tokens!.data as Float32Array;
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}
