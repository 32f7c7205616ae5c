import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { readLoraAdapter } from '@landfall/graph/checkpoint/peft.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../test/tiny-model.ts';
import type { TrainingEvent, TrainingTask } from './run.ts';
import { runTraining } from './run.ts';
import { runInThread } from './thread.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), 'landfall-train-'));
  writeTinyModel(path.join(root, 'model'));
  const rows = Array.from({ length: 22 }, (_, i) => ({ question: `问${i % 7}?`, answer: `答 ${i}。` }));
  dataset('data', rows);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function dataset(name: string, rows: object[]): string {
  mkdirSync(path.join(root, name));
  writeFileSync(path.join(root, name, 'train.json'), JSON.stringify(rows));
  return path.join(root, name);
}

let runs = 0;
const task = (changes: Partial<TrainingTask> = {}): TrainingTask => ({
  modelFolder: path.join(root, 'model'),
  datasetFolder: path.join(root, 'data'),
  checkpointFolder: path.join(root, `checkpoints-${++runs}`),
  weightCacheFolder: path.join(root, 'weights'),
  identity: 'tiny',
  threads: 1,
  rank: 4,
  loraAlpha: 8,
  targetModules: ['all-linear'],
  learningRate: 5e-3,
  epochs: 3,
  batchSize: 4,
  gradientAccumulationSteps: 2,
  warmupSteps: 2,
  weightDecay: 0.01,
  maxGradNorm: 1,
  maxLength: 64,
  seed: 7n,
  templates: ['chat', '问:{question}'],
  checkpointSteps: 2,
  ...changes,
});

type Step = TrainingEvent & { type: 'step' };
const stepsOf = (events: TrainingEvent[]) => events.filter((event): event is Step => event.type === 'step');
const numbers = (events: TrainingEvent[]) =>
  stepsOf(events).map(({ step, epoch, loss, learningRate, gradNorm }) => [
    step,
    epoch,
    loss,
    learningRate,
    gradNorm,
  ]);
const bytes = (tensors: ReadonlyMap<string, { data: Float32Array }>) => {
  const sorted = [...tensors.keys()].sort().map((name) => tensors.get(name)!.data);
  return Buffer.concat(sorted.map((data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
};

/** Runs until `stopAfter` steps of this attempt. */
async function run(settings: TrainingTask, stopAfter = Number.POSITIVE_INFINITY) {
  const events: TrainingEvent[] = [];
  const result = await runTraining(
    settings,
    (event) => events.push(event),
    () => stepsOf(events).length >= stopAfter,
  );
  return { events, result };
}

describe('runTraining', () => {
  it('lowers the loss and tells step, epoch, rate and remaining time', async () => {
    const { events, result } = await run(task({ epochs: 12 }));
    expect(result.finished).toBe(true);
    const steps = stepsOf(events);
    expect(steps.map((event) => event.step)).toEqual(Array.from({ length: 36 }, (_, i) => i + 1));
    expect(steps.at(-1)).toMatchObject({ epoch: 12, totalSteps: 36, remainingSeconds: 0 });
    expect(steps.at(-1)!.loss).toBeLessThan(steps[0]!.loss * 0.7);
    expect(steps.every((event) => event.tokensPerSecond > 0)).toBe(true);
    expect(events[0]).toMatchObject({ type: 'prepared', rows: 22, resumedAt: 0 });
  });

  it('gives the same bits when it is stopped and resumed at any step', async () => {
    const whole = await run(task());
    for (const stops of [[1], [2], [3, 1, 4], [5, 3]]) {
      const settings = task();
      const seen: TrainingEvent[] = [];
      for (const stop of stops) {
        const part = await run(settings, stop);
        expect(part.result.finished).toBe(false);
        seen.push(...part.events);
      }
      const last = await run(settings);
      seen.push(...last.events);
      expect(last.result.finished).toBe(true);
      expect(numbers(seen)).toEqual(numbers(whole.events));
      expect(bytes(last.result.state.parameters).equals(bytes(whole.result.state.parameters))).toBe(true);
    }
  });

  it('passes over a torn checkpoint and one of another run', async () => {
    const settings = task();
    await run(settings, 4);
    const names = readdirSync(settings.checkpointFolder).sort();
    expect(names).toEqual(['step-000000002', 'step-000000004']);
    const file = path.join(settings.checkpointFolder, 'step-000000004', 'second.safetensors');
    const content = readFileSync(file);
    content[content.length - 1]! ^= 1;
    writeFileSync(file, content);
    const resumed = await run(settings);
    expect(resumed.events[0]).toMatchObject({ resumedAt: 2 });
    const other = await run({ ...settings, seed: 8n }, 1);
    expect(other.events[0]).toMatchObject({ resumedAt: 0 });
  });

  it('ends with a named failure when the loss is no number, and keeps its checkpoints', async () => {
    // The first step trains B from zero; the second one multiplies it by a scale that no float holds.
    const settings = task({ loraAlpha: 1e30, warmupSteps: 0, checkpointSteps: 1 });
    const failure = await run(settings).then(
      () => undefined,
      (error: Error) => error,
    );
    expect(failure).toMatchObject({ kind: 'diverged', message: expect.stringMatching(/at step 2 with/) });
    expect(readdirSync(settings.checkpointFolder).length).toBeGreaterThan(0);
  });

  it('names the rows when nothing can be learnt', async () => {
    const long = dataset('long', [
      { question: 'q'.repeat(90), answer: 'a' },
      { question: 'r'.repeat(90), answer: 'a' },
    ]);
    await expect(run(task({ datasetFolder: long }))).rejects.toMatchObject({
      kind: 'data',
      message: expect.stringMatching(/no row has a label.*no_label \(rows 1, 2\)/),
    });
    const same = dataset('same', new Array(5).fill({ question: 'q', answer: 'a' }));
    await expect(run(task({ datasetFolder: same }))).rejects.toMatchObject({ kind: 'data' });
  });
});

describe('runInThread', () => {
  it('writes an adapter that the library loads, while this thread stays free', async () => {
    const adapterFolder = path.join(root, 'adapter');
    let beats = 0;
    const beat = setInterval(() => beats++, 5);
    const events: TrainingEvent[] = [];
    const { finished } = await runInThread({
      task: task(),
      adapterFolder,
      baseName: 'models:/tiny/1.0.0',
      onEvent: (event) => events.push(event),
    });
    clearInterval(beat);
    expect(finished).toBe(true);
    expect(beats).toBeGreaterThan(3);
    const alone = await run(task());
    const { config } = openCheckpoint(path.join(root, 'model'));
    const adapter = readLoraAdapter(adapterFolder, config);
    expect(bytes(adapter.tensors).equals(bytes(alone.result.state.parameters))).toBe(true);
  });

  it('stops after the step in hand with a checkpoint', async () => {
    const settings = task({ epochs: 400 });
    const stop = new AbortController();
    const { finished, step } = await runInThread({
      task: settings,
      adapterFolder: path.join(root, 'never'),
      baseName: '',
      onEvent: (event) => event.type === 'step' && event.step >= 3 && stop.abort(),
      signal: stop.signal,
    });
    expect(finished).toBe(false);
    expect(existsSync(path.join(root, 'never'))).toBe(false);
    expect((await run(settings, 1)).events[0]).toMatchObject({ resumedAt: step });
  });

  it('passes on why a run failed', async () => {
    const run = { task: task({ modelFolder: root }), adapterFolder: root, baseName: '', onEvent: () => {} };
    await expect(runInThread(run)).rejects.toMatchObject({ name: 'TrainingError', kind: 'model' });
  });
});
