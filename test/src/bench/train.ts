import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeModel, type ShapeName } from './make-model.ts';
import { median, type Report, UsageError } from './report.ts';
import type { TrainFigures, TrainRun } from './train-run.ts';

const METHODS = ['lora', 'qlora', 'full', 'frozen', 'ptuning_v2'] as const;
/** Tokens of a row, and multiples of it that step time is looked at for. */
const SHORT = 128;
const LENGTHS = [256, 512, 1024, 2048];

/**
 * `npm run bench -- train [--model DIR] [--method lora --batch 4 --length 128 --steps 8 --threads 2 --ragged 16
 * --precision int8|float16 --provider cuda --checkpointing] [--rounds 3] [--python PATH]`: seconds a step, answer tokens
 * a second and peak memory of the training engine, and with a Python that has PyTorch and peft the same of theirs, run
 * by turns on the same rows.
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
      provider: { type: 'string', default: 'cpu' },
      checkpointing: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '3' },
      python: { type: 'string' },
    },
  });
  if (values.method && !METHODS.includes(values.method as TrainRun['method']))
    throw new UsageError(`--method is one of ${METHODS.join(', ')}`);
  if (!['float32', 'int8', 'float16'].includes(values.precision))
    throw new UsageError('--precision is float32, int8 or float16');
  if (!['cpu', 'cuda'].includes(values.provider)) throw new UsageError('--provider is cpu or cuda');
  const temporary = values.model ? undefined : mkdtempSync(join(tmpdir(), 'landfall-bench-'));
  try {
    if (temporary) makeModel(temporary, values.shape as ShapeName);
    const number = (name: 'batch' | 'length' | 'steps' | 'threads' | 'ragged' | 'rounds', least = 1) => {
      const value = Number(values[name]);
      if (!Number.isSafeInteger(value) || value < least)
        throw new UsageError(`--${name} is a whole number from ${least}`);
      return value;
    };
    const asked: TrainRun = {
      model: values.model ?? temporary!,
      method: (values.method ?? 'lora') as TrainRun['method'],
      batch: number('batch'),
      length: number('length'),
      ragged: number('ragged', 0),
      steps: number('steps'),
      threads: number('threads'),
      precision: values.precision as TrainRun['precision'],
      provider: values.provider as TrainRun['provider'],
      checkpointing: values.checkpointing,
    };
    const bench = new TrainBench(report, values.python, number('rounds'));
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
  readonly #rounds: number;

  constructor(report: Report, python: string | undefined, rounds: number) {
    this.#report = report;
    this.#python = python;
    this.#rounds = rounds;
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
    const rounded = await this.#measure('lora-int8', int8);
    this.#report.ratio(
      'lora-int8.step-of-float32',
      rounded.ours.secondsPerStep,
      plain.ours.secondsPerStep,
      's',
    );
    this.#report.figure('lora-int8.gradient-error', rounded.ours.gradientError!, '');
    await this.#measure('lora-ragged', { ...base, ragged: 16 });
    const { ours: quantised } = await this.#alone('qlora', { ...base, method: 'qlora', steps: 3 });
    this.#report.figure('qlora.seconds-to-first-step', quantised.startSeconds, 's');
    this.#report.ratio('qlora.memory-of-lora', quantised.peakRssMiB, plain.ours.peakRssMiB, 'MiB');
    await this.#measure('full', { ...base, method: 'full', steps: Math.min(base.steps, 4) });
    for (const method of ['frozen', 'ptuning_v2'] as const) {
      await this.#measure(method, { ...base, method, steps: Math.min(base.steps, 4) });
    }
    await this.#linearity(base);
    const { secondsPerStep, tokensPerSecond, peakRssMiB } = plain.ours;
    return { secondsPerStep, tokensPerSecond, peakRssMiB, ...(plain.peer ? { peer: plain.peer } : {}) };
  }

  /**
   * Time a token as tokens grow, of that at 128: in rows of 128, where attention grows with the tokens as all else does,
   * and in one row, where what attention takes beyond that is the rest.
   */
  async #linearity(base: TrainRun): Promise<void> {
    const perToken = async (batch: number, length: number) => {
      const { ours } = await this.#alone(`lora-${batch}x${length}`, { ...base, batch, length, steps: 2 });
      return ours.secondsPerStep / (batch * length);
    };
    const least = await perToken(1, SHORT);
    for (const tokens of LENGTHS) {
      const inRows = await perToken(tokens / SHORT, SHORT);
      this.#report.ratio(`lora.time-a-token-at-${tokens / SHORT}x${SHORT}-of-1x${SHORT}`, inRows, least, 's');
      const inOne = await perToken(1, tokens);
      this.#report.ratio(`lora.time-a-token-at-1x${tokens}-of-1x${SHORT}`, inOne, least, 's');
      // Everything but attention over a square of the length is the same in both.
      this.#report.figure(`lora.share-of-long-attention-at-1x${tokens}`, Math.max(0, 1 - inRows / inOne), '');
    }
  }

  /**
   * Ours and the peer's by turns, so that a drift of the machine's speed meets both; the steps are shared out among the
   * rounds.
   */
  async #measure(name: string, run: TrainRun): Promise<Pair> {
    if (!this.#python) return this.#alone(name, run);
    const script = join(import.meta.dirname, 'peer', 'train.py');
    const steps = Math.ceil(run.steps / this.#rounds);
    const [all, peers]: [TrainFigures[], TrainFigures[]] = [[], []];
    for (let round = 0; round < this.#rounds; round++) {
      // The gradients are compared once.
      const gradientError = run.gradientError === true && round === 0;
      all.push(await ownFigures({ ...run, steps, gradientError }));
      peers.push(await figuresOf(this.#python, [script, JSON.stringify({ ...run, steps })]));
    }
    const [ours, peer] = [middle(all), middle(peers)];
    this.#tell(name, ours);
    this.#report.ratio(`${name}.step`, ours.secondsPerStep, peer.secondsPerStep, 's');
    // Of two times for the same tokens, so that less is better here too.
    this.#report.ratio(`${name}.token`, 1 / ours.tokensPerSecond, 1 / peer.tokensPerSecond, 's');
    this.#report.ratio(`${name}.memory`, ours.peakRssMiB, peer.peakRssMiB, 'MiB');
    this.#report.figure(`${name}.loss-difference`, Math.abs(ours.firstLoss - peer.firstLoss), 'nats');
    return { ours, peer };
  }

  async #alone(name: string, run: TrainRun): Promise<Pair> {
    const ours = await ownFigures(run);
    this.#tell(name, ours);
    return { ours };
  }

  #tell(name: string, ours: TrainFigures): void {
    this.#report.figure(`${name}.seconds-per-step`, ours.secondsPerStep, 's');
    this.#report.figure(`${name}.tokens-per-second`, ours.tokensPerSecond, 'answer tokens/s');
    this.#report.figure(`${name}.peak-rss`, ours.peakRssMiB, 'MiB');
  }
}

/** Of several rounds of one run: the middle of what drifts, the most of memory, the first of what is the same. */
function middle(rounds: readonly TrainFigures[]): TrainFigures {
  const of = (name: 'secondsPerStep' | 'tokensPerSecond' | 'startSeconds') =>
    median(rounds.map((r) => r[name]));
  return {
    ...rounds[0]!,
    secondsPerStep: of('secondsPerStep'),
    tokensPerSecond: of('tokensPerSecond'),
    startSeconds: of('startSeconds'),
    peakRssMiB: Math.max(...rounds.map(({ peakRssMiB }) => peakRssMiB)),
  };
}

const ownFigures = (run: TrainRun) =>
  figuresOf(process.execPath, [join(import.meta.dirname, 'train-run.ts'), JSON.stringify(run)]);

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
