/**
 * Entry of the thread that turns images into what the model reads in their place: decoding, the model's own image
 * processing, tower and projector. Decoding goes on beside; the tower takes what waits together, and keeps neither the
 * service's event loop nor the model's steps.
 */

import { createHash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { openLlava } from '@landfall/graph/checkpoint/vision.ts';
import { openImageProcessor, pixelValues } from '@landfall/graph/vision/image-processor.ts';
import { ImageTokens } from '@landfall/graph/vision/image-tokens.ts';
import { decodeImage } from '@landfall/images/decode.ts';
import { ImageError } from '@landfall/images/errors.ts';
import { ByteCache } from './byte-cache.ts';
import type { FromImages, ImageThreadOptions, SeenImage, ToImages } from './image-thread.ts';
import type { EncodedImage } from './seeing-thread.ts';

/** More images a run than this are no faster, and those behind them wait longer. */
const MOST_AT_ONCE = 8;

const port = parentPort!;
const options = workerData as ImageThreadOptions;
const send = (message: FromImages) => port.postMessage(message);

interface Job {
  call: number;
  tenant: string;
  images: (EncodedImage & { digest: string })[];
  /** What is known of them, by their index. */
  seen: (Float32Array | undefined)[];
  /** How many of them the tower has seen for it. */
  computed: number;
}

/** An image of a job whose turn it is. */
interface Turn {
  job: Job;
  index: number;
  key: string;
}

class ImageLoop {
  readonly #tower: ImageTokens;
  readonly #processor: ReturnType<typeof openImageProcessor>;
  readonly #cache = new ByteCache<Float32Array>(options.cacheBytes);
  #jobs: Job[] = [];
  #wake: () => void = () => {};
  #closing = false;

  constructor(tower: ImageTokens, processor: ReturnType<typeof openImageProcessor>) {
    this.#tower = tower;
    this.#processor = processor;
    port.on('message', (message: ToImages) => this.#receive(message));
  }

  async run(): Promise<void> {
    send({ type: 'ready' });
    while (!this.#closing) {
      const turns = this.#next();
      if (turns.length > 0) await this.#see(turns);
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
    await this.#tower.release();
    port.close();
  }

  #receive(message: ToImages): void {
    if (message.type === 'close') this.#closing = true;
    else if (message.type === 'forget') this.#drop(message.call);
    else {
      const { call, tenant } = message;
      const images = message.images.map((image) => ({
        ...image,
        digest: createHash('sha256').update(image.bytes).digest('base64'),
      }));
      this.#jobs.push({ call, tenant, images, seen: images.map(() => undefined), computed: 0 });
    }
    this.#wake();
  }

  #drop(call: number): void {
    this.#jobs = this.#jobs.filter((job) => job.call !== call);
  }

  /** Answers the jobs whose images are all known; of the others the next images, each once. */
  #next(): Turn[] {
    const turns = new Map<string, Turn>();
    for (const job of [...this.#jobs]) {
      for (const [index, { digest }] of job.images.entries()) {
        const key = `${job.tenant} ${digest}`;
        job.seen[index] ??= this.#cache.get(key);
        if (!job.seen[index] && !turns.has(key) && turns.size < MOST_AT_ONCE)
          turns.set(key, { job, index, key });
      }
      if (job.seen.every((tokens) => tokens !== undefined)) this.#answer(job, job.seen);
    }
    return [...turns.values()];
  }

  #answer({ call, images, computed }: Job, seen: readonly Float32Array[]): void {
    this.#drop(call);
    const answer = seen.map((tokens, i): SeenImage => ({ digest: images[i]!.digest, tokens }));
    send({ type: 'seen', call, images: answer, computed });
  }

  async #see(turns: readonly Turn[]): Promise<void> {
    const pixels = await Promise.all(turns.map((turn) => this.#pixels(turn)));
    const read = turns.flatMap((turn, i) => (pixels[i] ? [{ turn, pixels: pixels[i] }] : []));
    if (read.length === 0) return;
    const size = read[0]!.pixels.length;
    const batch = new Float32Array(read.length * size);
    for (const [i, { pixels: own }] of read.entries()) batch.set(own, i * size);
    try {
      const tokens = await this.#tower.run(batch);
      const each = tokens.length / read.length;
      for (const [i, { turn }] of read.entries()) {
        const shared = new Float32Array(new SharedArrayBuffer(each * Float32Array.BYTES_PER_ELEMENT));
        shared.set(tokens.subarray(i * each, (i + 1) * each));
        this.#cache.set(turn.key, shared);
        turn.job.seen[turn.index] = shared;
        turn.job.computed++;
      }
    } catch (error) {
      for (const { turn } of read) this.#refuse(turn.job, undefined, error);
    }
  }

  async #pixels({ job, index }: Turn): Promise<Float32Array | undefined> {
    const { bytes, field } = job.images[index]!;
    try {
      const { width, height, rgb } = await decodeImage(bytes);
      return pixelValues(this.#processor, { width, height, channels: 3, data: rgb });
    } catch (error) {
      this.#refuse(job, error instanceof ImageError ? field : undefined, error);
      return undefined;
    }
  }

  #refuse({ call }: Job, field: string | undefined, error: unknown): void {
    this.#drop(call);
    send({ type: 'refused', call, field, message: messageOf(error) });
  }
}

async function main(): Promise<void> {
  const checkpoint = openLlava(options.folder);
  const processor = openImageProcessor(options.folder, checkpoint.config.vision.imageSize);
  await new ImageLoop(await ImageTokens.create(checkpoint, options), processor).run();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

main().catch((error: unknown) => {
  send({ type: 'failed', message: messageOf(error) });
  port.close();
});
