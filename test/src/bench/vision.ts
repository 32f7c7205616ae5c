import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openLlava } from '@landfall/graph/checkpoint/vision.ts';
import { exportOnnxLlava } from '@landfall/graph/export/onnx-llava.ts';
import { ImageTokens } from '@landfall/graph/vision/image-tokens.ts';
import { TOWER_PRECISIONS, type TowerPrecision } from '@landfall/graph/vision/packed-towers.ts';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import sharp from 'sharp';
import { makeLlava } from './make-llava.ts';
import { lcg } from './random.ts';
import { median, type Report } from './report.ts';
import { ServiceProcesses } from './serve-replica.ts';
import { ReplicaSeer, type Seer, TransformersSeer } from './vision-seers.ts';

const QUESTION = '<image>\nwhat is wrong here?';
const OTHER_QUESTION = '<image>\nwhere exactly is it?';
/** Requests before anything is timed: sessions and caches settle. */
const WARM = 2;
/** Images of one run of a tower alone. */
const ENCODED = 8;
/** Images whose answers are compared between forms of weights. */
const COMPARED = 16;

interface VisionOptions {
  model: string;
  side: number;
  inFlight: number[];
  threads: number;
  output: number;
  rounds: number;
  each: number;
  random: () => number;
}

/**
 * `npm run bench -- vision [--model DIR] [--in-flight 1,4,16] [--threads 2] [--new 32] [--rounds 3] [--each 2] [--seed 1]`:
 * images a second, one short answer each, by how many are in flight: a replica against transformers.js on the same weights,
 * each in a process of its own, by turns; the peer as it is called by as many at once (one after the other), and as it is
 * when all that is in flight is made one batch of equal length for it.
 * Then the time to the first token of a second question about an image, and what int8 and int4 gain and lose beside float32:
 * of the tower alone its speed and how alike its rows are, of the whole its speed and the likelihood of answers. The model is a LLaVA folder; without one a small one of random weights is made.
 */
export async function run(report: Report, args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      model: { type: 'string' },
      'in-flight': { type: 'string', default: '1,4,16' },
      threads: { type: 'string', default: String(availableParallelism()) },
      new: { type: 'string', default: '32' },
      rounds: { type: 'string', default: '3' },
      each: { type: 'string', default: '2' },
      seed: { type: 'string', default: '1' },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), 'landfall-vision-bench-'));
  try {
    const model = values.model ?? join(folder, 'model');
    if (!values.model) makeLlava(model);
    if (!existsSync(join(model, 'config.json'))) throw new Error(`--model ${model} holds no config.json`);
    const checkpoint = openLlava(model);
    const exported = join(folder, 'exported');
    await exportOnnxLlava(checkpoint, exported);
    const options: VisionOptions = {
      model,
      side: checkpoint.config.vision.imageSize,
      inFlight: values['in-flight'].split(',').map((text) => whole('in-flight', text)),
      threads: whole('threads', values.threads),
      output: whole('new', values.new),
      rounds: whole('rounds', values.rounds),
      each: whole('each', values.each),
      random: lcg(whole('seed', values.seed)),
    };
    await imagesPerSecond(report, options, exported);
    await secondQuestion(report, options);
    await encoders(report, options, join(folder, 'weights'));
    await forms(report, options);
    const { threads, output, side } = options;
    return { threads, new: output, side, model: values.model ?? 'made here' };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function whole(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} takes whole numbers from 1`);
  return value;
}

/** Of the tower's own size, so that neither side's way of resizing matters; no two alike. */
function image({ side, random }: VisionOptions): Promise<Buffer> {
  const data = Buffer.from(Array.from({ length: 3 * side * side }, () => Math.floor(random() * 256)));
  return sharp(data, { raw: { width: side, height: side, channels: 3 } })
    .png()
    .toBuffer();
}

async function imagesPerSecond(report: Report, options: VisionOptions, exported: string): Promise<void> {
  await using processes = new ServiceProcesses();
  const { model, threads } = options;
  const { address } = await processes.replica({ model, threads, quantization: 'float32' });
  const ours = new ReplicaSeer(processes.channel(address).client(TextInferenceService), options.output);
  await using theirs = await TransformersSeer.start(exported, threads, options.output);
  let same = 0;
  let compared = 0;
  for (const count of options.inFlight) {
    const rates = { ours: [] as number[], batched: [] as number[], single: [] as number[] };
    for (let round = -1; round < options.rounds; round++) {
      const images = await Promise.all(
        Array.from({ length: round < 0 ? WARM : count * options.each }, () => image(options)),
      );
      const own = await closed(ours, images, count, 1);
      const batched = await closed(theirs, images, count, count);
      const single = count > 1 ? await closed(theirs, images, count, 1) : batched;
      if (round < 0) continue;
      rates.ours.push(own.rate);
      rates.batched.push(batched.rate);
      rates.single.push(single.rate);
      compared += images.length;
      same += own.texts.filter((text, i) => text === batched.texts[i]).length;
    }
    const [own, single, batched] = [rates.ours, rates.single, rates.batched].map(median) as [
      number,
      number,
      number,
    ];
    report.figure(`images-per-second.${count}`, own, 'images/s');
    report.ratio(`images-per-second.${count}`, own, single, 'images/s');
    if (count > 1) report.ratio(`images-per-second-of-one-batch.${count}`, own, batched, 'images/s');
  }
  report.figure('same-answers', same / compared, '');
}

/** Images a second with so many in flight, of which the seer is given `together` at once. */
async function closed(
  seer: Seer,
  images: readonly Buffer[],
  inFlight: number,
  together: number,
): Promise<{ rate: number; texts: string[] }> {
  const texts: string[] = [];
  let next = 0;
  const start = performance.now();
  const worker = async () => {
    while (next < images.length) {
      const from = next;
      next += together;
      const answers = await seer.see(images.slice(from, from + together), QUESTION);
      for (const [i, text] of answers.entries()) texts[from + i] = text;
    }
  };
  await Promise.all(Array.from({ length: Math.ceil(inFlight / together) }, worker));
  return { rate: images.length / ((performance.now() - start) / 1000), texts };
}

async function secondQuestion(report: Report, options: VisionOptions): Promise<void> {
  await using processes = new ServiceProcesses();
  const { model, threads } = options;
  const { address } = await processes.replica({ model, threads, quantization: 'float32' });
  const seer = new ReplicaSeer(processes.channel(address).client(TextInferenceService), 2);
  const [first, second]: [number[], number[]] = [[], []];
  for (let i = -WARM; i < options.rounds * options.each * 2; i++) {
    const shown = await image(options);
    const [cold, warm] = [
      await seer.firstTokenMs(shown, QUESTION),
      await seer.firstTokenMs(shown, OTHER_QUESTION),
    ];
    if (i < 0) continue;
    first.push(cold);
    second.push(warm);
  }
  report.ratio('second-question.time-to-first-token', median(second), median(first), 'ms');
}

/** The tower and projector alone, in this process: images a second of one batch, and how alike their rows are. */
async function encoders(
  report: Report,
  { model, threads, random, rounds }: VisionOptions,
  cacheFolder: string,
): Promise<void> {
  const checkpoint = openLlava(model);
  const { channels, imageSize } = checkpoint.config.vision;
  const size = channels * imageSize ** 2;
  const pixels = Float32Array.from({ length: ENCODED * size }, () => 2 * random() - 1);
  await using stack = new AsyncDisposableStack();
  const towers = new Map<TowerPrecision, ImageTokens>();
  for (const precision of TOWER_PRECISIONS) {
    const tower = await ImageTokens.create(checkpoint, { threads, cacheFolder, precision });
    stack.defer(() => tower.release());
    towers.set(precision, tower);
  }
  const times = new Map(TOWER_PRECISIONS.map((precision) => [precision, [] as number[]]));
  const rows = new Map<TowerPrecision, Float32Array>();
  // By turns, so that what else the machine does falls on all.
  for (let round = -1; round < 2 * rounds; round++) {
    for (const [precision, tower] of towers) {
      const start = performance.now();
      rows.set(precision, await tower.run(pixels));
      if (round >= 0) times.get(precision)!.push(performance.now() - start);
    }
  }
  const rate = (precision: TowerPrecision) => (1000 * ENCODED) / median(times.get(precision)!);
  const whole = rows.get('float32')!;
  for (const precision of TOWER_PRECISIONS) {
    report.figure(`encoder.${precision}.images-per-second`, rate(precision), 'images/s');
    if (precision === 'float32') continue;
    const name = `encoder.${precision}.images-per-second-of-float32`;
    report.ratio(name, rate(precision), rate('float32'), 'images/s');
    report.figure(`encoder.${precision}.alike-float32`, likeness(rows.get(precision)!, whole), 'cosine');
  }
}

/** Cosine between all values of two towers. */
function likeness(a: Float32Array, b: Float32Array): number {
  let [product, own, other] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i]! * b[i]!;
    own += a[i]! ** 2;
    other += b[i]! ** 2;
  }
  return product / Math.sqrt(own * other);
}

/** Weights of the decoder, and of the tower where they are not what a replica takes by itself. */
const FORMS: readonly { name: string; quantization: string; env: Record<string, string> }[] = [
  { name: 'float32', quantization: 'float32', env: {} },
  { name: 'int8', quantization: 'int8', env: {} },
  { name: 'int4', quantization: 'int4', env: {} },
  { name: 'int4-both', quantization: 'int4', env: { LANDFALL_TEXT_TOWER_QUANTIZATION: 'int4' } },
];

/** What fewer bits cost in likelihood: of the answers that float32 gives, under each form; and what they gain. */
async function forms(report: Report, options: VisionOptions): Promise<void> {
  const images = await Promise.all(Array.from({ length: COMPARED }, () => image(options)));
  const most = Math.max(...options.inFlight);
  let answers: string[] = [];
  let whole: { perplexity: number; rate: number } | undefined;
  for (const { name, quantization, env } of FORMS) {
    await using processes = new ServiceProcesses();
    const { model, threads } = options;
    const { address } = await processes.replica({ model, threads, quantization }, env);
    const seer = new ReplicaSeer(processes.channel(address).client(TextInferenceService), options.output);
    const { rate, texts } = await closed(seer, images, most, 1);
    if (!whole) answers = texts;
    const scored = images.flatMap((shown, i) =>
      answers[i] ? [seer.score(shown, QUESTION, answers[i])] : [],
    );
    const scores = await Promise.all(scored);
    const tokens = scores.reduce((sum, score) => sum + score.tokens, 0);
    const perplexity = Math.exp(-scores.reduce((sum, score) => sum + score.logProbability, 0) / tokens);
    report.figure(`${name}.perplexity`, perplexity, '');
    report.figure(`${name}.images-per-second`, rate, 'images/s');
    if (whole) {
      report.ratio(`${name}.perplexity-of-float32`, perplexity, whole.perplexity, 'perplexity');
      report.ratio(`${name}.images-per-second-of-float32`, rate, whole.rate, 'images/s');
    }
    whole ??= { perplexity, rate };
  }
}
