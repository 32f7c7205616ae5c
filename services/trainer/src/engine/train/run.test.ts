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
import { float16Checkpoint, openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { readLoraAdapter } from '@landfall/graph/checkpoint/peft.ts';
import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import { LossScale } from '@landfall/graph/training/loss-scale.ts';
import type { TrainableSpec } from '@landfall/graph/training/methods.ts';
import { AdamW, globalNorm } from '@landfall/graph/training/optimizer.ts';
import { TrainingGraph } from '@landfall/graph/training/trainer.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../test/tiny-model.ts';
import { bytes, LORA, run, stepsOf, taskIn } from '../../../test/training-run.ts';
import { initialParameters } from './initial.ts';
import { OUTPUT_FILES, outputKind } from './output.ts';
import { replayedRow, replayRows } from './replay.ts';
import { optimiserStep } from './step.ts';
import type { TrainingEvent, TrainingTask, ValidationTask } from './task.ts';
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

const task = (changes: Partial<TrainingTask> = {}) =>
  taskIn(root, {
    ...{ spec: { method: 'lora', lora: LORA }, learningRate: 5e-3, epochs: 3, batchSize: 4 },
    ...{
      gradientAccumulationSteps: 2,
      warmupSteps: 2,
      templates: ['chat', '问:{question}'],
      checkpointSteps: 2,
    },
    ...changes,
  });

const numbers = (events: TrainingEvent[]) =>
  stepsOf(events).map(({ step, epoch, loss, learningRate, gradNorm }) => [
    step,
    epoch,
    loss,
    learningRate,
    gradNorm,
  ]);

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
    const settings = task({
      spec: { method: 'lora', lora: { ...LORA, loraAlpha: 1e30 } },
      warmupSteps: 0,
      checkpointSteps: 1,
    });
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

describe('float16', () => {
  it('learns as float32 does, and resumes with the same bits and the same loss scale', async () => {
    const exact = await run(task());
    const whole = await run(task({ forwardPrecision: 'float16' }));
    expect(whole.events[0]).toMatchObject({ precision: 'float16' });
    for (const [i, { loss, lossScale }] of stepsOf(whole.events).entries()) {
      expect(Math.abs(loss / stepsOf(exact.events)[i]!.loss - 1)).toBeLessThan(0.02);
      expect(lossScale).toBe(2 ** 16);
    }
    const settings = task({ forwardPrecision: 'float16' });
    await run(settings, 3);
    const resumed = await run(settings);
    expect(bytes(resumed.result.state.parameters).equals(bytes(whole.result.state.parameters))).toBe(true);
    expect(resumed.result.state.lossScale).toEqual(whole.result.state.lossScale);
  });

  it("halves the scale until a step's gradients no longer overflow", async () => {
    const checkpoint = float16Checkpoint(openCheckpoint(path.join(root, 'model')), path.join(root, 'halves'));
    const spec: TrainableSpec = { method: 'lora', lora: LORA };
    const options = { threads: 1, maxLength: 16, forwardPrecision: 'float16' } as const;
    const graph = await TrainingGraph.create(checkpoint, spec, options);
    const parameters = initialParameters({ language: checkpoint }, spec, () => 0.7);
    const adam = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1 });
    const lossScale = new LossScale({ scale: 2 ** 50, steady: 7 });
    const batch = [{ ids: [5, 6, 7, 8], labels: [-100, 6, 7, 8] }];
    const own = (await graph.step(batch, parameters)).gradients;
    const settings = { learningRate: 0.1, maxGradNorm: 1, lossScale };
    const { gradNorm } = await optimiserStep(graph, [batch], parameters, adam, settings);
    expect(lossScale.state.scale).toBeLessThan(2 ** 40);
    expect(lossScale.state.steady).toBe(1);
    expect(gradNorm / globalNorm(own)).toBeCloseTo(1, 2);
    expect(adam.state.step).toBe(1);
    await graph.release();
  });

  it('names float32 as a way out where no scale helps', async () => {
    const settings = task({
      forwardPrecision: 'float16',
      spec: { method: 'lora', lora: { ...LORA, loraAlpha: 1e12 } },
      warmupSteps: 0,
    });
    await expect(run(settings)).rejects.toMatchObject({
      kind: 'diverged',
      message: expect.stringMatching(/in float32 \(forward_precision\)/),
    });
  });
});

describe('methods', () => {
  const LAYERS = { trainableLayers: 1, finalNorm: true, head: false };
  const SPECS: Record<string, TrainableSpec> = {
    'lora with dropout': { method: 'lora', lora: { ...LORA, loraDropout: 0.2 } },
    'lora with whole modules': { method: 'lora', lora: { ...LORA, modulesToSave: ['norm'] } },
    qlora: { method: 'qlora', lora: LORA },
    ptuning_v2: {
      method: 'ptuning_v2',
      prefix: { numVirtualTokens: 4, prefixProjection: false, encoderHiddenSize: 0 },
    },
    'ptuning_v2 with projection': {
      method: 'ptuning_v2',
      prefix: { numVirtualTokens: 4, prefixProjection: true, encoderHiddenSize: 16 },
    },
    frozen: { method: 'frozen', frozen: LAYERS },
    full: { method: 'full' },
  };

  it.each(Object.entries(SPECS))('%s learns, and gives the same bits when it is resumed', async (_, spec) => {
    const settings = { spec, epochs: 4, ...(spec.method === 'ptuning_v2' ? { learningRate: 5e-2 } : {}) };
    const whole = await run(task(settings));
    const losses = stepsOf(whole.events).map(({ loss }) => loss);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
    const broken = task(settings);
    await run(broken, 5);
    const resumed = await run(broken);
    expect(resumed.result.finished).toBe(true);
    expect(bytes(resumed.result.parameters).equals(bytes(whole.result.parameters))).toBe(true);
  });

  it.each(Object.entries(SPECS))('%s writes a result that gives its own loss', async (name, spec) => {
    const settings = task({ spec });
    const outputFolder = path.join(root, `output-${name}`);
    await runInThread({ task: settings, outputFolder, baseName: 'models:/tiny/1.0.0', onEvent: () => {} });
    const kind = outputKind(spec);
    expect(readdirSync(outputFolder).sort()).toEqual([...OUTPUT_FILES[kind]].sort());
    const { result } = await run(settings);
    const rows = [{ ids: [1, 20, 30, 40, 50], labels: [-100, -100, 30, 40, 50] }];
    const options = { threads: 1, maxLength: 8 };
    const base = openCheckpoint(path.join(root, 'model'));
    const trained = await TrainingGraph.create(base, spec, options);
    const expected = await trained.loss(rows, result.parameters);
    await trained.release();
    let measured: TrainingGraph;
    let parameters = new Map<string, NamedTensor>();
    if (kind === 'model') {
      measured = await TrainingGraph.create(
        openCheckpoint(outputFolder),
        { method: 'partial', names: [] },
        options,
      );
    } else {
      const written: TrainableSpec =
        spec.method === 'ptuning_v2'
          ? { ...spec, prefix: { ...spec.prefix, prefixProjection: false } }
          : spec;
      measured = await TrainingGraph.create(base, written, options);
      parameters = initialParameters({ language: base }, written, Math.random, undefined, outputFolder);
    }
    const loss = await measured.loss(rows, parameters);
    await measured.release();
    expect(loss).toBeCloseTo(expected, 4);
  });

  it('goes on from an earlier adapter', async () => {
    const outputFolder = path.join(root, 'earlier');
    await runInThread({ task: task({ epochs: 12 }), outputFolder, baseName: '', onEvent: () => {} });
    const fresh = stepsOf((await run(task(), 1)).events)[0]!.loss;
    const on = stepsOf((await run(task({ adapterFolder: outputFolder }), 1)).events)[0]!.loss;
    expect(on).toBeLessThan(fresh * 0.8);
  });
});

describe('validation', () => {
  const looksOf = (events: TrainingEvent[]) =>
    events.flatMap((event) => (event.type === 'look' ? [event.loss] : []));
  const watched = (changes: Partial<ValidationTask> = {}, rest: Partial<TrainingTask> = {}) =>
    task({
      validation: {
        datasetFolder: path.join(root, 'unseen'),
        everySteps: 1,
        patience: 0,
        keepBest: true,
        ...changes,
      },
      learningRate: 3e-2,
      epochs: 6,
      ...rest,
    });

  it('keeps the weights of the best look, resumed or not, and stops when patience ends', async () => {
    dataset('unseen', [
      { question: '问别的?', answer: 'xyz' },
      { question: '问什么?', answer: '答 别的。' },
    ]);
    const whole = await run(watched());
    const losses = looksOf(whole.events);
    expect(losses).toHaveLength(18);
    const best = losses.indexOf(Math.min(...losses));
    const upToBest = await run(watched(), best + 1);
    expect(bytes(whole.result.parameters).equals(bytes(upToBest.result.state.parameters))).toBe(true);
    const broken = watched();
    await run(broken, 7);
    expect(bytes((await run(broken)).result.parameters).equals(bytes(whole.result.parameters))).toBe(true);

    const impatient = await run(watched({ patience: 2 }, { learningRate: 0.2 }));
    const seen = looksOf(impatient.events);
    expect(impatient.result).toMatchObject({
      finished: true,
      stoppedEarly: expect.stringContaining('2 looks'),
    });
    expect(seen.length).toBeLessThan(18);
    expect(seen.length - 1 - seen.indexOf(Math.min(...seen))).toBe(2);
  });

  it('mixes in earlier rows by their share, each once before one comes again', () => {
    const drawn = replayRows(80, 13, 0.2);
    expect(drawn).toBe(20);
    const shape = { own: 80, earlier: 13, drawn, seed: 5n };
    const seen = [0, 1, 2].flatMap((epoch) =>
      Array.from({ length: drawn }, (_, i) => replayedRow(shape, 80 + i, epoch)),
    );
    for (let round = 0; round + 13 <= seen.length; round += 13) {
      expect([...seen.slice(round, round + 13)].sort((a, b) => a - b)).toEqual(
        Array.from({ length: 13 }, (_, i) => 80 + i),
      );
    }
    expect(replayedRow(shape, 7, 2)).toBe(7);
  });

  it('refuses what does not fit, and says what would', async () => {
    await expect(run(task({ memoryBytes: 2 ** 20 }))).rejects.toMatchObject({
      kind: 'memory',
      message: expect.stringMatching(
        /1 MiB may be used; what needs less: gradient_checkpointing, batch_size 2/,
      ),
    });
  });
});

describe('runInThread', () => {
  it('writes an adapter that the library loads, while this thread stays free', async () => {
    const outputFolder = path.join(root, 'adapter');
    let beats = 0;
    const beat = setInterval(() => beats++, 5);
    const events: TrainingEvent[] = [];
    const { finished } = await runInThread({
      task: task(),
      outputFolder,
      baseName: 'models:/tiny/1.0.0',
      onEvent: (event) => events.push(event),
    });
    clearInterval(beat);
    expect(finished).toBe(true);
    expect(beats).toBeGreaterThan(3);
    const alone = await run(task());
    const { config } = openCheckpoint(path.join(root, 'model'));
    const adapter = readLoraAdapter(outputFolder, config);
    expect(bytes(adapter.tensors).equals(bytes(alone.result.state.parameters))).toBe(true);
  });

  it('stops after the step in hand with a checkpoint', async () => {
    const settings = task({ epochs: 400 });
    const stop = new AbortController();
    const { finished, step } = await runInThread({
      task: settings,
      outputFolder: path.join(root, 'never'),
      baseName: '',
      onEvent: (event) => event.type === 'step' && event.step >= 3 && stop.abort(),
      signal: stop.signal,
    });
    expect(finished).toBe(false);
    expect(existsSync(path.join(root, 'never'))).toBe(false);
    expect((await run(settings, 1)).events[0]).toMatchObject({ resumedAt: step });
  });

  it('passes on why a run failed', async () => {
    const run = { task: task({ modelFolder: root }), outputFolder: root, baseName: '', onEvent: () => {} };
    await expect(runInThread(run)).rejects.toMatchObject({ name: 'TrainingError', kind: 'model' });
  });
});
