import { expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import type { NamedTensor } from '../checkpoint/safetensors.ts';
import { AdamW, accumulate, clipScale, globalNorm } from './optimizer.ts';

const random = generator(testSeed('the optimizer'));
const OPTIONS = { beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1 };

const numbers = (length: number) => Float32Array.from({ length }, () => 2 * random() - 1);
const tensor = (data: Float32Array): NamedTensor => ({ shape: [data.length], data });
const copy = (of: ReadonlyMap<string, NamedTensor>) =>
  new Map([...of].map(([name, { data }]) => [name, tensor(data.slice())]));

/** The paper's algorithm 2, one number at a time in double precision. */
function reference(start: number, gradients: readonly number[], rates: readonly number[], decay: number) {
  let [x, m, v] = [start, 0, 0];
  for (const [t, g] of gradients.entries()) {
    m = OPTIONS.beta1 * m + (1 - OPTIONS.beta1) * g;
    v = OPTIONS.beta2 * v + (1 - OPTIONS.beta2) * g * g;
    const mHat = m / (1 - OPTIONS.beta1 ** (t + 1));
    const vHat = v / (1 - OPTIONS.beta2 ** (t + 1));
    x -= rates[t]! * decay * x;
    x -= (rates[t]! * mHat) / (Math.sqrt(vHat) + OPTIONS.epsilon);
  }
  return x;
}

test('AdamW is the published algorithm; what is named does not decay', () => {
  const size = between(random, 1, 9);
  const parameters = new Map([
    ['weight', tensor(numbers(size))],
    ['norm', tensor(numbers(size))],
  ]);
  const start = copy(parameters);
  const adam = new AdamW(parameters, { ...OPTIONS, noDecay: (name) => name === 'norm' });
  const steps = between(random, 2, 12);
  const rates = Array.from({ length: steps }, () => 0.1 * random());
  const seen = rates.map(() => new Map([...parameters.keys()].map((name) => [name, numbers(size)])));
  const scale = 0.3;
  for (const [t, gradients] of seen.entries()) adam.step(parameters, gradients, rates[t]!, scale);
  for (const [name, { data }] of parameters) {
    for (const [i, value] of data.entries()) {
      const gradients = seen.map((step) => step.get(name)![i]! * scale);
      const decay = name === 'norm' ? 0 : OPTIONS.weightDecay;
      expect(value).toBeCloseTo(reference(start.get(name)!.data[i]!, gradients, rates, decay), 5);
    }
  }
  expect(adam.state.step).toBe(steps);
});

test('an optimizer that begins from a kept state goes on to the bit', () => {
  const parameters = new Map([['w', tensor(numbers(7))]]);
  const gradients = Array.from({ length: 6 }, () => new Map([['w', numbers(7)]]));
  const whole = copy(parameters);
  const adam = new AdamW(whole, OPTIONS);
  for (const gradient of gradients) adam.step(whole, gradient, 0.01);

  const first = new AdamW(parameters, OPTIONS);
  for (const gradient of gradients.slice(0, 4)) first.step(parameters, gradient, 0.01);
  const kept = structuredClone(first.state);
  const second = new AdamW(parameters, OPTIONS, kept);
  for (const gradient of gradients.slice(4)) second.step(parameters, gradient, 0.01);
  expect(parameters).toEqual(whole);
});

test('the norm is that of all tensors together, and clipping brings it to its bound', () => {
  const gradients = new Map([5, 4, 11].map((n, i) => [`g${i}`, numbers(n)]));
  const all = [...gradients.values()].flatMap((gradient) => [...gradient]);
  const norm = globalNorm(gradients);
  expect(norm).toBeCloseTo(Math.hypot(...all), 6);
  expect(clipScale(norm, 2 * norm)).toBe(1);
  expect(norm * clipScale(norm, norm / 3)).toBeCloseTo(norm / 3, 5);
  expect(clipScale(0, 1)).toBe(1);
});

test('micro-batches add up, the first of them untouched', () => {
  const [a, b] = [numbers(4), numbers(4)];
  const before = a.slice();
  const sum = new Map<string, Float32Array>();
  accumulate(sum, new Map([['w', a]]), 0.5);
  accumulate(sum, new Map([['w', b]]), 0.5);
  for (let i = 0; i < 4; i++) expect(sum.get('w')![i]).toBeCloseTo((a[i]! + b[i]!) / 2, 6);
  expect(a).toEqual(before);
});
