import type { InferenceSession } from 'onnxruntime-node';
import { Tape } from '../autodiff/tape.ts';
import type { LlavaCheckpoint } from '../checkpoint/vision.ts';
import { visionTower } from '../models/clip.ts';
import { patchCount } from '../models/clip-config.ts';
import { createSession } from '../onnx/session.ts';
import { WeightSource } from '../onnx/weights.ts';
import { towerWeights } from '../vision/clip-encoder.ts';
import { type SequenceImage, stackPixels } from './sequence-images.ts';

/** What the frozen lower layers of a tower make of images, kept by image: an epoch after the first computes nothing. */
export class FrozenTower {
  readonly #config: LlavaCheckpoint['config'];
  readonly #session: InferenceSession;
  readonly #bytes: number;
  /** Least recently used first. */
  readonly #kept = new Map<string, Float32Array>();
  #used = 0;

  private constructor(config: LlavaCheckpoint['config'], session: InferenceSession, bytes: number) {
    this.#config = config;
    this.#session = session;
    this.#bytes = bytes;
  }

  /**
   * @param checkpoint in float32
   * @param layer whose output is wanted
   * @param options.cacheBytes how much is kept of what was computed
   */
  static async create(
    checkpoint: LlavaCheckpoint,
    layer: number,
    options: { threads: number; cacheBytes: number },
  ): Promise<FrozenTower> {
    const { vision } = checkpoint.config;
    const tape = new Tape();
    const { graph } = tape;
    const weights = new WeightSource(graph, checkpoint.tower);
    const { channels, imageSize } = vision;
    const pixels = graph.input('pixels', 'float32', ['I', channels, imageSize, imageSize]);
    graph.output(visionTower(tape, vision, pixels, towerWeights(tape, weights, ''), layer), 'hidden');
    const session = await createSession(graph.serialize(), weights.files, { threads: options.threads });
    return new FrozenTower(checkpoint.config, session, options.cacheBytes);
  }

  /** @returns [I * (1 + patches), hiddenSize] */
  async hidden(images: readonly SequenceImage[]): Promise<Float32Array> {
    const { vision } = this.#config;
    const size = (patchCount(vision) + 1) * vision.hiddenSize;
    const rows = new Float32Array(images.length * size);
    const missing = new Map<string, SequenceImage>();
    for (const image of images) if (!this.#kept.has(image.key)) missing.set(image.key, image);
    const computed = new Map<string, Float32Array>();
    if (missing.size > 0) {
      const pixels = await stackPixels([...missing.values()], vision);
      const { hidden } = await this.#session.run({ pixels });
      const all = hidden!.data as Float32Array;
      for (const [i, key] of [...missing.keys()].entries())
        computed.set(key, all.slice(i * size, (i + 1) * size));
    }
    // Before any is kept: that may drop one that comes later in this batch.
    const found = images.map(({ key }) => computed.get(key) ?? this.#kept.get(key)!);
    for (const [i, row] of found.entries()) {
      rows.set(row, i * size);
      this.#keep(images[i]!.key, row);
    }
    return rows;
  }

  async release(): Promise<void> {
    await this.#session.release();
  }

  #keep(key: string, row: Float32Array): void {
    if (!this.#kept.delete(key)) this.#used += row.byteLength;
    this.#kept.set(key, row);
    for (const [old, { byteLength }] of this.#kept) {
      if (this.#used <= this.#bytes) break;
      this.#kept.delete(old);
      this.#used -= byteLength;
    }
  }
}
