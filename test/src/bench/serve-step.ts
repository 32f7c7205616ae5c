import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServingPrecision } from '@landfall/graph/serving/packed-weights.ts';
import { Engine } from '@landfall/text-inference/engine/engine.ts';
import { createRunner } from '@landfall/text-inference/engine/onnx-runner.ts';
import type { Runner } from '@landfall/text-inference/engine/runner.ts';
import { loadTokenizer, type Tokenizer } from '@landfall/text-inference/engine/tokenizer.ts';
import { InferenceSession } from 'onnxruntime-node';
import { median, type Report } from './report.ts';
import type { ServeOptions } from './serve.ts';
import { promptOf } from './serve-load.ts';

const ROWS = 16;
const BLOCK_SIZE = 16;
/** Steps that are measured of a round, at most. */
const STEPS = 24;
/** Tokens of the batch that warms up. */
const WARM_UP = 4;
const PRECISIONS: readonly ServingPrecision[] = ['float32', 'int8'];

type RunMethod = InferenceSession['run'];

/** One call of the numeric runtime, to be made again. */
interface Run {
  session: InferenceSession;
  args: Parameters<RunMethod>;
}

/**
 * What a step of the engine costs over the bare `session.run` of the same graph on the same inputs, with 16 rows that
 * decode: plan, feeds, keys and values, sampling and text are the difference. Each step is followed by its own calls of
 * the runtime made once more, so that both meet the same batch, the same lengths and the same machine.
 */
export async function measure(report: Report, options: ServeOptions): Promise<void> {
  for (const precision of PRECISIONS) {
    const { stepMs, bareMs } = await stepsOf(precision, options);
    const name = `engine-step-over-bare-run.${precision}`;
    report.ratio(name, median(stepMs), median(bareMs), `ms, ${ROWS} rows, ${stepMs.length} steps`);
  }
}

interface Times {
  stepMs: number[];
  bareMs: number[];
}

async function stepsOf(precision: ServingPrecision, options: ServeOptions): Promise<Times> {
  const folder = mkdtempSync(join(tmpdir(), 'landfall-bench-'));
  try {
    const tokenizer = await loadTokenizer(options.model);
    const blocks = ROWS * Math.ceil((options.prompt + Math.max(options.output, WARM_UP) + 1) / BLOCK_SIZE);
    const runner = await createRunner({
      folder: options.model,
      cacheFolder: folder,
      threads: options.threads,
      maxBatch: ROWS,
      blocks,
      blockSize: BLOCK_SIZE,
      adapterSlots: 0,
      precision,
    });
    const times: Times = { stepMs: [], bareMs: [] };
    await decode(runner, tokenizer, { ...options, output: WARM_UP }, { stepMs: [], bareMs: [] });
    for (let round = 0; round < options.rounds; round++) await decode(runner, tokenizer, options, times);
    await runner.release();
    if (times.stepMs.length === 0) throw new Error(`no step had ${ROWS} rows: give more tokens by --new`);
    return times;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A batch from its prompts to its end, its steps measured once all rows decode. */
async function decode(
  runner: Runner,
  tokenizer: Tokenizer,
  { prompt, output, random }: ServeOptions,
  { stepMs, bareMs }: Times,
): Promise<void> {
  const engine = new Engine({
    runner,
    decode: tokenizer.decode,
    eos: new Set(tokenizer.endTokens),
    limits: { maxBatch: ROWS, maxPrefillTokens: ROWS * prompt, maxChunkTokens: ROWS * prompt },
  });
  for (let row = 0; row < ROWS; row++) {
    engine.submit(
      {
        id: `${row}`,
        prompt: tokenizer.encode({ text: promptOf(prompt, random) }).prompt,
        tenant: 'bench',
        client: `${row}`,
        priority: 0,
        sampling: { temperature: 0, topK: 0, topP: 1, seed: 0n },
        maxTokens: output,
        stop: [],
        ignoreEos: true,
      },
      0,
    );
  }
  using probe = new SessionProbe();
  for (let steps = 0; engine.busy && steps < STEPS; ) {
    probe.runs.length = 0;
    const start = performance.now();
    const step = await engine.step();
    const end = performance.now();
    if (step?.kind !== 'decode' || step.rows < ROWS) continue;
    steps++;
    stepMs.push(end - start);
    bareMs.push(await probe.again());
  }
}

/** Sees the calls that are made of the runtime, so that nothing in the engine is there for being measured. */
class SessionProbe implements Disposable {
  readonly runs: Run[] = [];
  readonly #prototype = (InferenceSession as unknown as { prototype: InferenceSession }).prototype;
  readonly #run = this.#prototype.run;

  constructor() {
    const { runs } = this;
    const run = this.#run;
    this.#prototype.run = function (this: InferenceSession, ...args: Run['args']) {
      runs.push({ session: this, args });
      return run.apply(this, args);
    } as RunMethod;
  }

  /** Makes the calls of the last step again. @returns milliseconds that they took */
  async again(): Promise<number> {
    const start = performance.now();
    for (const { session, args } of this.runs) await this.#run.apply(session, args);
    return performance.now() - start;
  }

  [Symbol.dispose](): void {
    this.#prototype.run = this.#run;
  }
}
