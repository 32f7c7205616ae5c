import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { lcg } from './random.ts';
import type { Report } from './report.ts';
import { closedLoop, type Middle, middle, type Round, requestsOf, sameAnswers } from './serve-load.ts';
import { ServiceProcesses } from './serve-replica.ts';
import { OpenAiTarget, type Target } from './serve-target.ts';

/** A figure beside the streams'; each starts what it needs. */
type Figure = { measure(report: Report, options: ServeOptions): Promise<void> };
const FIGURES: Record<string, () => Promise<Figure>> = {
  streams: async () => ({ measure: streams }),
  adapters: () => import('./serve-adapters.ts'),
  'event-loop': () => import('./serve-event-loop.ts'),
  fairness: () => import('./serve-fairness.ts'),
  memory: () => import('./serve-memory.ts'),
  prefix: () => import('./serve-prefix.ts'),
  step: () => import('./serve-step.ts'),
};

export interface ServeOptions {
  model: string;
  streams: number[];
  prompt: number;
  output: number;
  threads: number;
  quantization: string;
  int4Block: number;
  rounds: number;
  /** Requests that a stream makes in a round. */
  each: number;
  /** Requests of the memory's figure, and the time that they get. */
  requests: number;
  seconds: number;
  /** URL of an OpenAI-compatible server, and what it serves. */
  against: string | undefined;
  label: string;
  random: () => number;
}

/**
 * `npm run bench -- serve --model DIR [--streams 1,4,8,16] [--prompt 64] [--new 64] [--threads 2]
 * [--quantization float32|int8|int4] [--int4-block 128] [--against URL] [--against-label f32] [--only NAME,...] [--rounds 3] [--each 2]
 * [--requests 10000] [--seconds 480] [--seed 1]`: a replica in a process of its own under closed-loop clients, and any
 * OpenAI-compatible server with the same model beside it, by turns and from the same load generator; then what a step of
 * the engine costs over the bare run of its graph. The model is one of make-model's.
 */
export async function run(report: Report, args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      model: { type: 'string' },
      streams: { type: 'string', default: '1,4,8,16' },
      prompt: { type: 'string', default: '64' },
      new: { type: 'string', default: '64' },
      threads: { type: 'string', default: String(availableParallelism()) },
      quantization: { type: 'string', default: 'float32' },
      against: { type: 'string' },
      'against-label': { type: 'string', default: '' },
      'int4-block': { type: 'string', default: '128' },
      only: { type: 'string', default: 'streams,step' },
      rounds: { type: 'string', default: '3' },
      each: { type: 'string', default: '2' },
      requests: { type: 'string', default: '10000' },
      seconds: { type: 'string', default: '480' },
      seed: { type: 'string', default: '1' },
    },
  });
  if (!values.model) throw new Error('give a folder of `npm run bench -- make-model`: --model DIR');
  const names = values.only.split(',');
  for (const name of names)
    if (!FIGURES[name]) throw new Error(`--only is of ${Object.keys(FIGURES).join(', ')}`);
  const options: ServeOptions = {
    model: values.model,
    streams: values.streams.split(',').map((text) => whole('streams', text)),
    prompt: whole('prompt', values.prompt),
    output: whole('new', values.new),
    threads: whole('threads', values.threads),
    quantization: values.quantization,
    int4Block: whole('int4-block', values['int4-block']),
    rounds: whole('rounds', values.rounds),
    each: whole('each', values.each),
    requests: whole('requests', values.requests),
    seconds: whole('seconds', values.seconds),
    against: values.against,
    label: values['against-label'],
    random: lcg(whole('seed', values.seed)),
  };
  for (const name of names) await (await FIGURES[name]!()).measure(report, options);
  const { quantization, int4Block, threads, prompt, output, label } = options;
  return {
    quantization,
    ...(quantization === 'int4' ? { int4Block } : {}),
    threads,
    prompt,
    new: output,
    ...(values.against ? { against: label || values.against } : {}),
  };
}

function whole(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} takes whole numbers from 1`);
  return value;
}

/** Environment of a replica by what the options say of its weights. */
export const precisionEnv = ({ quantization, int4Block }: ServeOptions) => ({
  LANDFALL_TEXT_QUANTIZATION: quantization,
  LANDFALL_TEXT_INT4_BLOCK: String(int4Block),
});

/** Tokens a second and the times of a token by the number of streams, ours and the peer's. */
async function streams(report: Report, options: ServeOptions): Promise<void> {
  await using processes = new ServiceProcesses();
  const { target } = await processes.replica(options);
  const peer = options.against ? new OpenAiTarget(options.against, options.label) : undefined;
  const sides = peer ? [target, peer] : [target];
  for (const count of options.streams) {
    const [ours, theirs] = await alternate(sides, count, options);
    const name = `${options.quantization}.${count}-streams`;
    tell(report, name, middle(ours!), theirs && middle(theirs));
    // Shows that both have the same weights; greedy texts part where rounding turns a near tie.
    if (theirs) report.figure(`${name}.same-answers`, sameAnswers(ours!, theirs), 'of 1');
  }
  peer?.close();
}

/** Rounds of each side by turns after one to warm up, so that a drift of the machine's speed meets both. */
export async function alternate(
  sides: readonly Target[],
  count: number,
  options: ServeOptions,
): Promise<Round[][]> {
  const rounds: Round[][] = sides.map(() => []);
  for (let round = 0; round <= options.rounds; round++) {
    const requests = requestsOf(count, options);
    // The warm-up needs one request a stream.
    const asked = round === 0 ? requests.map((list) => list.slice(0, 1)) : requests;
    for (const [i, side] of sides.entries()) {
      const measured = await closedLoop(side, asked, options.prompt);
      if (round > 0) rounds[i]!.push(measured);
    }
  }
  return rounds;
}

function tell(report: Report, name: string, ours: Middle, peer: Middle | undefined): void {
  const lines = [
    ['tokens-per-second', 'tokensPerSecond', 'tokens/s'],
    ['time-to-first-token', 'firstTokenMs', 'ms'],
    ['between-tokens', 'gapMs', 'ms'],
  ] as const;
  for (const [what, key, unit] of lines) {
    report.figure(`${name}.${what}`, ours[key], unit);
    if (peer) report.ratio(`${name}.${what}`, ours[key], peer[key], unit);
  }
}
