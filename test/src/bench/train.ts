import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeModel, type ShapeName } from './make-model.ts';
import type { Report } from './report.ts';
import type { TrainFigures, TrainRun } from './train-run.ts';

const METHODS = ['lora', 'qlora', 'full', 'frozen', 'ptuning_v2'] as const;
const LENGTHS = [128, 512, 2048];

/**
 * `npm run bench -- train [--model DIR] [--method lora --batch 4 --length 128 --steps 8 --threads 2 --ragged 16
 * --precision int8 --checkpointing] [--python PATH]`: seconds a step, answer tokens a second and peak memory of the
 * training engine, and with a Python that has PyTorch and peft the same of theirs, run by turns on the same rows.
 * Without --method all of what the engine promises is measured; without --model on a model that is made for it.
 */
export async function run(report: Report, args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      model: { type: 'string' },
      shape: { type: 'string', default: 'smollm2-135m' },
      method: { type: 'string' },
      batch: { type: 'string', default: '4' },
      length: { type: 'string', default: '128' },
      steps: { type: 'string', default: '8' },
      threads: { type: 'string', default: '2' },
      ragged: { type: 'string', default: '0' },
      precision: { type: 'string', default: 'float32' },
      checkpointing: { type: 'boolean', default: false },
      python: { type: 'string' },
    },
  });
  if (values.method && !METHODS.includes(values.method as TrainRun['method']))
    throw new Error(`--method is one of ${METHODS.join(', ')}`);
  if (!['float32', 'int8'].includes(values.precision)) throw new Error('--precision is float32 or int8');
  const temporary = values.model ? undefined : mkdtempSync(join(tmpdir(), 'landfall-bench-'));
  try {
    if (temporary) makeModel(temporary, values.shape as ShapeName);
    const number = (name: 'batch' | 'length' | 'steps' | 'threads' | 'ragged') => {
      const value = Number(values[name]);
      if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} is a whole number`);
      return value;
    };
    const asked: TrainRun = {
      model: values.model ?? temporary!,
      method: (values.method ?? 'lora') as TrainRun['method'],
      batch: number('batch'),
      length: number('length'),
      ragged: number('ragged'),
      steps: number('steps'),
      threads: number('threads'),
      precision: values.precision as TrainRun['precision'],
      checkpointing: values.checkpointing,
    };
    const bench = new TrainBench(report, values.python);
    return values.method ? await bench.one(asked) : await bench.all(asked);
  } finally {
    if (temporary) rmSync(temporary, { recursive: true, force: true });
  }
}

interface Pair {
  ours: TrainFigures;
  peer?: TrainFigures;
}

class TrainBench {
  readonly #report: Report;
  readonly #python: string | undefined;

  constructor(report: Report, python: string | undefined) {
    this.#report = report;
    this.#python = python;
  }

  async one(run: TrainRun): Promise<object> {
    const { ours, peer } = await this.#measure(run.method, run);
    const { secondsPerStep, tokensPerSecond, peakRssMiB } = ours;
    return { secondsPerStep, tokensPerSecond, peakRssMiB, ...(peer ? { peer } : {}) };
  }

  async all(base: TrainRun): Promise<object> {
    const plain = await this.#measure('lora', base);
    this.#report.figure('lora.seconds-to-first-step', plain.ours.startSeconds, 's');
    const int8 = { ...base, precision: 'int8', gradientError: true } as const;
    const rounded = await this.#measure('lora-int8', int8, plain.peer);
    this.#report.ratio(
      'lora-int8.step-of-float32',
      rounded.ours.secondsPerStep,
      plain.ours.secondsPerStep,
      's',
    );
    this.#report.figure('lora-int8.gradient-error', rounded.ours.gradientError!, '');
    await this.#measure('lora-ragged', { ...base, ragged: 16 });
    const { ours: quantised } = await this.#alone('qlora', { ...base, method: 'qlora', steps: 3 });
    this.#report.ratio('qlora.memory-of-lora', quantised.peakRssMiB, plain.ours.peakRssMiB, 'MiB');
    await this.#measure('full', { ...base, method: 'full', steps: Math.min(base.steps, 4) });
    for (const method of ['frozen', 'ptuning_v2'] as const) {
      await this.#measure(method, { ...base, method, steps: Math.min(base.steps, 4) });
    }
    const perToken: number[] = [];
    for (const length of LENGTHS) {
      const run = { ...base, batch: 1, length, steps: 2 };
      const { ours } = await this.#alone(`lora-1x${length}`, run);
      perToken.push(ours.secondsPerStep / length);
    }
    this.#report.ratio('lora.time-a-token-at-2048-of-512', perToken[2]!, perToken[1]!, 's');
    const { secondsPerStep, tokensPerSecond, peakRssMiB } = plain.ours;
    return { secondsPerStep, tokensPerSecond, peakRssMiB, ...(plain.peer ? { peer: plain.peer } : {}) };
  }

  /** @param known the peer's figures where they were measured in this run already */
  async #measure(name: string, run: TrainRun, known?: TrainFigures): Promise<Pair> {
    const { ours } = await this.#alone(name, run);
    if (!this.#python) return { ours };
    const script = join(import.meta.dirname, 'peer', 'train.py');
    const peer = known ?? (await figuresOf(this.#python, [script, JSON.stringify(run)]));
    this.#report.ratio(`${name}.step`, ours.secondsPerStep, peer.secondsPerStep, 's');
    // Of two times for the same tokens, so that less is better here too.
    this.#report.ratio(`${name}.token`, 1 / ours.tokensPerSecond, 1 / peer.tokensPerSecond, 's');
    this.#report.ratio(`${name}.memory`, ours.peakRssMiB, peer.peakRssMiB, 'MiB');
    if (!known)
      this.#report.figure(`${name}.loss-difference`, Math.abs(ours.firstLoss - peer.firstLoss), 'nats');
    return { ours, peer };
  }

  async #alone(name: string, run: TrainRun): Promise<Pair> {
    const ours = await figuresOf(process.execPath, [
      join(import.meta.dirname, 'train-run.ts'),
      JSON.stringify(run),
    ]);
    this.#report.figure(`${name}.seconds-per-step`, ours.secondsPerStep, 's');
    this.#report.figure(`${name}.tokens-per-second`, ours.tokensPerSecond, 'answer tokens/s');
    this.#report.figure(`${name}.peak-rss`, ours.peakRssMiB, 'MiB');
    return { ours };
  }
}

/** Runs a program and reads the JSON on its last line. */
async function figuresOf(program: string, args: string[]): Promise<TrainFigures> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${program} ${args[0]} ended with ${code}`);
  return JSON.parse(output.trimEnd().split('\n').at(-1)!) as TrainFigures;
}
