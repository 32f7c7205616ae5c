import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openClip } from '@landfall/graph/checkpoint/vision.ts';
import { exportOnnxClip } from '@landfall/graph/export/onnx-clip.ts';
import type { TowerPrecision } from '@landfall/graph/vision/packed-towers.ts';
import { decodeImage } from '@landfall/images/decode.ts';
import { EmbedderThread } from '@landfall/vision-inference/engine/embedding/embedder-thread.ts';
import sharp from 'sharp';
import type { Ask, Told } from './clip-transformers.ts';
import { makeClip } from './make-clip.ts';
import { lcg } from './random.ts';
import { median, type Report } from './report.ts';

/** Images that are embedded; their size is that of a photograph in a catalogue. */
const IMAGES = 32;
const [WIDTH, HEIGHT] = [640, 480];

/** Vectors of images; a call is one image, or all that is in flight as one batch. */
interface Seer {
  see(images: Uint8Array[]): Promise<number[][]>;
}

/**
 * `npm run bench -- clip [--model DIR] [--in-flight 1,4,16] [--threads 2] [--rounds 3] [--seed 1]`: images a second, from
 * PNG to vector, by how many are in flight, against transformers.js on the same weights, as it is called by as many at
 * once and as it is given them as one batch; then speed and likeness of int8 and int4 beside float32, and how far the two
 * programs' vectors are apart. The model is a CLIP folder; without one a small one of random weights is made.
 */
export async function run(report: Report, args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      model: { type: 'string' },
      'in-flight': { type: 'string', default: '1,4,16' },
      threads: { type: 'string', default: String(availableParallelism()) },
      rounds: { type: 'string', default: '3' },
      seed: { type: 'string', default: '1' },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), 'landfall-bench-clip-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const random = lcg(Number(values.seed));
  const model = values.model ?? join(folder, 'model');
  if (!values.model) makeClip(model, random);
  await exportOnnxClip(openClip(model), join(folder, 'exported'));
  const images = await Promise.all(Array.from({ length: IMAGES }, () => picture(random)));
  const threads = Number(values.threads);
  const rounds = Number(values.rounds);
  const start = async (precision: TowerPrecision) => {
    const cacheFolder = join(folder, 'cache');
    const thread = await EmbedderThread.start({ folder: model, cacheFolder, threads, precision });
    stack.defer(() => thread.close());
    return ours(thread);
  };
  const [plain, int8, int4] = [await start('float32'), await start('int8'), await start('int4')];
  const peer = await Peer.start(join(folder, 'exported'), threads);
  stack.defer(() => peer.end());
  const vectors = await plain.see(images);
  report.figure('alike_peer', likeness(vectors, await peer.see(images)), 'cosine');
  report.figure('int8.alike_float32', likeness(vectors, await int8.see(images)), 'cosine');
  report.figure('int4.alike_float32', likeness(vectors, await int4.see(images)), 'cosine');
  for (const flight of values['in-flight'].split(',').map(Number)) {
    const speeds: Record<'ours' | 'int8' | 'int4' | 'peer' | 'batched', number[]> = {
      ...{ ours: [], int8: [], int4: [], peer: [], batched: [] },
    };
    for (let round = 0; round < rounds; round++) {
      speeds.ours.push(await perSecond(plain, images, flight, 1));
      speeds.peer.push(await perSecond(peer, images, flight, 1));
      speeds.batched.push(await perSecond(peer, images, 1, flight));
      speeds.int8.push(await perSecond(int8, images, flight, 1));
      speeds.int4.push(await perSecond(int4, images, flight, 1));
    }
    const { ours: own, peer: theirs, batched, ...packed } = speeds;
    report.figure(`${flight}.images`, median(own), 'images/s');
    for (const [precision, rates] of Object.entries(packed))
      report.figure(`${flight}.${precision}.images`, median(rates), 'images/s');
    report.ratio(`${flight}.images`, median(own), median(theirs), 'images/s');
    report.ratio(`${flight}.images_to_batches`, median(own), median(batched), 'images/s');
  }
  return { threads, model: values.model ?? 'made here' };
}

/** As the service does it: decoded here, resized and embedded in the model's thread. */
function ours(thread: EmbedderThread): Seer {
  const signal = new AbortController().signal;
  const one = async (bytes: Uint8Array) => {
    const { width, height, rgb: data } = await decodeImage(bytes);
    return [...(await thread.image({ width, height, channels: 3, data }, () => {}, signal))];
  };
  return { see: (images) => Promise.all(images.map(one)) };
}

class Peer implements Seer {
  readonly #child: ChildProcess;
  readonly #calls = new Map<number, (vectors: number[][]) => void>();
  #next = 1;

  static async start(folder: string, threads: number): Promise<Peer> {
    const script = join(import.meta.dirname, 'clip-transformers.ts');
    const child = fork(script, [folder, String(threads)], { serialization: 'advanced' });
    await once(child, 'message');
    return new Peer(child);
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', ({ call, vectors }: Told) => {
      this.#calls.get(call)?.(vectors);
      this.#calls.delete(call);
    });
  }

  see(images: Uint8Array[]): Promise<number[][]> {
    const call = this.#next++;
    return new Promise((resolve) => {
      this.#calls.set(call, resolve);
      this.#child.send({ call, images } satisfies Ask);
    });
  }

  async end(): Promise<void> {
    this.#child.disconnect();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

/** @param each images of a call */
async function perSecond(seer: Seer, images: Uint8Array[], flight: number, each: number): Promise<number> {
  const waiting = Array.from({ length: images.length / each }, (_, i) =>
    images.slice(i * each, (i + 1) * each),
  );
  const start = performance.now();
  const caller = async () => {
    for (let next = waiting.pop(); next; next = waiting.pop()) await seer.see(next);
  };
  await Promise.all(Array.from({ length: flight }, caller));
  return (images.length * 1000) / (performance.now() - start);
}

/** Mean cosine between vectors of the same images. */
function likeness(a: number[][], b: number[][]): number {
  const cosines = a.map((one, i) => {
    const other = b[i]!;
    const product = one.reduce((sum, value, k) => sum + value * other[k]!, 0);
    return product / Math.hypot(...one) / Math.hypot(...other);
  });
  return cosines.reduce((sum, value) => sum + value, 0) / cosines.length;
}

function picture(random: () => number): Promise<Uint8Array> {
  const blocks = Buffer.from(Uint8Array.from({ length: 16 * 12 * 3 }, () => random() * 256));
  const small = sharp(blocks, { raw: { width: 16, height: 12, channels: 3 } });
  return small.resize(WIDTH, HEIGHT, { fit: 'fill' }).png().toBuffer();
}
