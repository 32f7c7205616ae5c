import { existsSync } from 'node:fs';
import {
  type NamedTensor,
  readFloat32,
  readSafetensorsHeader,
  writeSafetensors,
} from '@landfall/graph/checkpoint/safetensors.ts';
import { AdamW, clipScale, globalNorm } from '@landfall/graph/training/optimizer.ts';

/** Steps until the rate is at its height. */
const WARMUP = 100;
const SAVE_EACH_MS = 180_000;

export interface Run {
  /** Where weights, moments and progress are kept: a run that was stopped goes on from there. */
  state: string;
  minutes: number;
  peakRate: number;
  /** Trained in place. */
  parameters: ReadonlyMap<string, NamedTensor>;
  /** Loss and gradients of a step, and how many samples it took. What is random in it follows from its number. */
  step(
    step: number,
  ): Promise<{ loss: number; gradients: ReadonlyMap<string, Float32Array>; samples: number }>;
  /** What is measured whenever the state was kept, to be printed. */
  measure(): Promise<string>;
}

/**
 * AdamW for some minutes: the rate rises over the first steps and falls along a cosine of the time that has passed.
 * A file of the state that is there already is gone on from; its minutes count.
 */
export async function trainFor(run: Run): Promise<void> {
  const { parameters, minutes } = run;
  const limitMs = minutes * 60_000;
  const stored = existsSync(run.state) ? readState(run.state, parameters) : undefined;
  const adam = new AdamW(
    parameters,
    {
      beta1: 0.9,
      beta2: 0.98,
      epsilon: 1e-8,
      weightDecay: 0.02,
      noDecay: (name) => parameters.get(name)!.shape.length < 2,
    },
    stored && { step: stored.step, first: stored.first, second: stored.second },
  );
  const startMs = performance.now() - (stored?.passedMs ?? 0);
  let savedMs = performance.now();
  let [step, samples, smooth] = [stored?.step ?? 0, 0, 0];
  const firstMs = performance.now();
  for (;;) {
    const passedMs = performance.now() - startMs;
    if (passedMs >= limitMs) break;
    const { loss, gradients, samples: taken } = await run.step(step);
    const rate =
      run.peakRate *
      Math.min(1, (step + 1) / WARMUP) *
      (0.5 + 0.5 * Math.cos((Math.PI * passedMs) / limitMs));
    adam.step(parameters, gradients, rate + run.peakRate / 100, clipScale(globalNorm(gradients), 1));
    step += 1;
    samples += taken;
    smooth = smooth === 0 ? loss : 0.97 * smooth + 0.03 * loss;
    if (step % 25 === 0) {
      const speed = samples / ((performance.now() - firstMs) / 1000);
      process.stderr.write(
        `step ${step}  loss ${smooth.toFixed(4)}  rate ${rate.toExponential(2)}  ${speed.toFixed(1)} samples/s  ` +
          `${((limitMs - passedMs) / 60_000).toFixed(1)} min left\n`,
      );
    }
    if (performance.now() - savedMs > SAVE_EACH_MS) await save();
  }
  await save();

  async function save(): Promise<void> {
    const passedMs = performance.now() - startMs;
    const { first, second } = adam.state;
    const moments = (name: string, values: ReadonlyMap<string, Float32Array>) =>
      [...values].map(([key, data]): [string, NamedTensor] => [
        `${name}/${key}`,
        { shape: [data.length], data },
      ]);
    const tensors = new Map<string, NamedTensor>([
      ...parameters,
      ...moments('first', first),
      ...moments('second', second),
      ['progress', { shape: [2], data: Float32Array.of(step, passedMs) }],
    ]);
    writeSafetensors(run.state, tensors);
    process.stderr.write(`kept after ${step} steps; ${await run.measure()}\n`);
    savedMs = performance.now();
  }
}

/** Tensors of a kept state by name, moments left out. */
export function keptParameters(state: string): Map<string, NamedTensor> {
  const { tensors } = readSafetensorsHeader(state);
  return new Map(
    [...tensors]
      .filter(([name]) => !name.includes('/') && name !== 'progress')
      .map(([name, entry]) => [name, { shape: [...entry.shape], data: readFloat32(state, entry) }]),
  );
}

function readState(state: string, parameters: ReadonlyMap<string, NamedTensor>) {
  const { tensors } = readSafetensorsHeader(state);
  const read = (name: string) => readFloat32(state, tensors.get(name)!);
  for (const [name, { data }] of parameters) data.set(read(name));
  const moments = (prefix: string) =>
    new Map([...parameters.keys()].map((name) => [name, read(`${prefix}/${name}`)]));
  const [step = 0, passedMs = 0] = read('progress');
  return { step, passedMs, first: moments('first'), second: moments('second') };
}
