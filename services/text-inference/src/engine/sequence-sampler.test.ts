import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { END, vocabularyOf } from '../../test/grammar-walk.ts';
import { random } from '../../test/tiny-model.ts';
import { compileConstraint } from './grammar/compile.ts';
import { Grammars } from './grammar/grammars.ts';
import { uniformAt } from './random.ts';
import type { SamplingParameters } from './sampler.ts';
import { SequenceSampler } from './sequence-sampler.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 1e6);
console.log(`LANDFALL_TEST_SEED=${seed}`);

const SIZE = 40;
const base: SamplingParameters = { temperature: 0, topK: 0, topP: 1, seed: 1n };

/** The same in straight steps over whole arrays: bias, penalties, mask, temperature, top-k, top-p, min-p, draw. */
function reference(
  logits: Float32Array,
  parameters: SamplingParameters,
  prompt: number[],
  output: number[],
  allowed: (token: number) => boolean,
  position: number,
): number {
  const { temperature, topK, topP, minP = 0, repetitionPenalty = 1 } = parameters;
  const row = Float32Array.from(logits);
  for (const [token, value] of parameters.logitBias ?? []) row[token]! += value;
  row.forEach((value, token) => {
    const count = output.filter((t) => t === token).length;
    if (prompt.includes(token) || count > 0)
      row[token] = value > 0 ? value / repetitionPenalty : value * repetitionPenalty;
    if (count === 0) return;
    row[token]! -= (parameters.frequencyPenalty ?? 0) * count + (parameters.presencePenalty ?? 0);
  });
  const order = [...row.keys()].filter(allowed).sort((a, b) => row[b]! - row[a]! || a - b);
  if (temperature === 0) return order[0]!;
  const max = row[order[0]!]!;
  const weight = (token: number) => Math.exp((row[token]! - max) / temperature);
  const sum = (tokens: number[]) => tokens.reduce((total, token) => total + weight(token), 0);
  const filtered = topK > 0 && topK < SIZE;
  let kept = filtered ? order.slice(0, topK) : order;
  if (topP < 1) {
    const all = sum(kept);
    const enough = kept.findIndex((_, i) => sum(kept.slice(0, i + 1)) >= topP * all);
    kept = enough < 0 ? kept : kept.slice(0, enough + 1);
  }
  kept = kept.filter((token) => weight(token) >= minP);
  if (!filtered && topP >= 1) kept.sort((a, b) => a - b);
  let rest = uniformAt(parameters.seed, position) * sum(kept);
  for (const token of kept) {
    rest -= weight(token);
    if (rest < 0) return token;
  }
  return kept.at(-1)!;
}

const parameters: fc.Arbitrary<SamplingParameters> = fc.record({
  temperature: fc.constantFrom(0, 0.3, 1, 4),
  topK: fc.constantFrom(0, 1, 5, 1000),
  topP: fc.constantFrom(1, 0.9, 0.3),
  minP: fc.constantFrom(undefined, 0, 0.1, 0.6, 1),
  seed: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  repetitionPenalty: fc.constantFrom(undefined, 1, 1.3, 0.5),
  frequencyPenalty: fc.constantFrom(undefined, 0, 0.7, -1),
  presencePenalty: fc.constantFrom(undefined, 0, 1.5, -0.5),
  logitBias: fc.array(fc.tuple(fc.nat(SIZE - 1), fc.integer({ min: -5, max: 5 })), { maxLength: 3 }),
  topLogprobs: fc.constantFrom(undefined, 0, 3),
});

function rows(count: number, from: number): Float32Array[] {
  const next = random(from);
  return Array.from({ length: count }, () => Float32Array.from({ length: SIZE }, () => next() * 8 - 4));
}

describe('SequenceSampler', () => {
  test('chooses what plain steps over whole arrays choose, and leaves the row as it was', () => {
    const prompts = fc.array(fc.nat(SIZE - 1), { maxLength: 12 });
    fc.assert(
      fc.property(parameters, prompts, fc.nat(1e6), (options, prompt, from) => {
        const sampler = new SequenceSampler(options, prompt);
        const output: number[] = [];
        for (const logits of rows(12, from)) {
          const before = Float32Array.from(logits);
          const position = prompt.length + output.length;
          const sampled = sampler.next(logits, position);
          expect(sampler.next(logits, position)).toEqual(sampled);
          expect(logits).toEqual(before);
          expect(sampled.token).toBe(reference(logits, options, prompt, output, () => true, position));
          if (options.topLogprobs === undefined) expect(sampled.logprob).toBeUndefined();
          else {
            const sum = logits.reduce((total, value) => total + Math.exp(value), 0);
            expect(sampled.logprob).toBeCloseTo(logits[sampled.token]! - Math.log(sum), 4);
            expect(sampled.top).toHaveLength(options.topLogprobs);
          }
          sampler.accept(sampled.token);
          output.push(sampled.token);
        }
      }),
      { seed, numRuns: 400 },
    );
  });

  test('a clone goes its own way, and what it was made from goes on as if there were none', () => {
    const grammar = new Grammars(vocabularyOf()).start(
      compileConstraint({ kind: 'regex', pattern: '[\\0-\\x1f]*' }),
    );
    fc.assert(
      fc.property(parameters, fc.nat(1e6), fc.boolean(), (options, from, held) => {
        const make = () => new SequenceSampler(options, [1, 2], held ? grammar : undefined);
        const [one, other] = [make(), make()];
        const run = (sampler: SequenceSampler, logits: Float32Array, position: number) => {
          const { token } = sampler.next(logits, position);
          sampler.accept(token);
          return token;
        };
        for (const [position, logits] of rows(10, from).entries()) {
          const copy = one.clone();
          const ahead = [0, 1, 2].map((i) => run(copy, logits, position + i));
          expect(ahead[0]).toBe(run(other, logits, position));
          expect(run(one, logits, position)).toBe(ahead[0]);
        }
      }),
      { seed, numRuns: 100 },
    );
  });

  test('chooses among what the grammar allows as if there were nothing else', () => {
    const pattern = '([\\0-\\x04]|\\x05[\\x06-\\x09])*';
    const spec = compileConstraint({ kind: 'regex', pattern });
    const grammars = new Grammars(vocabularyOf());
    fc.assert(
      fc.property(parameters, fc.nat(1e6), (options, from) => {
        const sampler = new SequenceSampler(options, [], grammars.start(spec));
        const output: number[] = [];
        for (const logits of rows(12, from)) {
          // A byte's token is the byte + 1.
          const second = output.at(-1) === 6;
          const allowed = (token: number) =>
            second ? token >= 7 && token <= 10 : token === END || (token >= 1 && token <= 6);
          const { token } = sampler.next(logits, output.length);
          expect(token).toBe(reference(logits, options, [], output, allowed, output.length));
          if (token === END) return;
          sampler.accept(token);
          output.push(token);
        }
      }),
      { seed, numRuns: 300 },
    );
  });

  test('the model may have more rows than the tokenizer has tokens: they are never chosen', () => {
    const start = new Grammars(vocabularyOf()).start(compileConstraint({ kind: 'regex', pattern: '.*' }));
    const logits = new Float32Array(512);
    logits[500] = 90;
    for (const temperature of [0, 1]) {
      const sampler = new SequenceSampler({ ...base, temperature }, [], start);
      expect(sampler.next(logits, 0).token).toBeLessThan(257);
    }
  });
});
