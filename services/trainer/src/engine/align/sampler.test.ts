import { areApart, type PairKeys } from '@landfall/graph/training/pair-targets.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import { describe, expect, it } from 'vitest';
import { candidatesOf, classRanks, meanVectors, ranks, recallAt, retrievalScores } from './retrieval.ts';
import { PairSampler } from './sampler.ts';

const seed = BigInt(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.log(`pairs: LANDFALL_TEST_SEED=${seed}`);
const random = randomOf(seed, 'pairs');

const keysOf = (texts: readonly string[]): PairKeys[] =>
  texts.map((text, i) => ({ text, image: String(i), label: '' }));

describe('the sampler of pairs', () => {
  it('gives every batch something to tell apart, however rare it is', () => {
    const common = 20 + Math.floor(random() * 30);
    const keys = keysOf([...new Array<string>(common).fill('a'), 'b']);
    const plan = { keys, epochs: 3, batchSize: 4, balanced: false, seed };
    const sampler = new PairSampler(plan);
    expect(sampler.steps).toBe(3 * Math.floor((common + 1) / 4));
    for (let step = 0; step < sampler.steps; step++) {
      const { showings } = sampler.of(step);
      expect(showings).toHaveLength(4);
      const shown = showings.map(({ row }) => keys[row]!);
      expect(shown.some((one) => areApart(shown[0]!, one))).toBe(true);
      // The same step has the same pairs, whoever asks and whenever.
      expect(new PairSampler(plan).of(step)).toEqual(sampler.of(step));
    }
  });

  it('shows classes alike where it balances, each pair once where it does not', () => {
    const keys = keysOf(Array.from({ length: 40 }, (_, i) => `text ${i}`));
    const labelled = keys.map((one, i) => ({ ...one, label: i < 4 ? 'scarce' : 'common' }));
    const rowsOf = (keys: PairKeys[], balanced: boolean) => {
      const sampler = new PairSampler({ keys, epochs: 1, batchSize: 10, balanced, seed });
      return Array.from({ length: sampler.steps }, (_, step) => sampler.of(step).showings).flat();
    };
    expect(new Set(rowsOf(keys, false).map(({ row }) => row)).size).toBe(40);
    const balanced = rowsOf(labelled, true);
    expect(balanced.filter(({ row }) => row < 4)).toHaveLength(20);
    expect(balanced.some(({ before }) => before > 3)).toBe(true);
  });

  it('takes all rows where a batch would be larger', () => {
    const sampler = new PairSampler({
      keys: keysOf(['a', 'b', 'c']),
      epochs: 2,
      batchSize: 64,
      balanced: false,
      seed,
    });
    expect(sampler).toMatchObject({ batchSize: 3, steps: 2, stepsPerEpoch: 1 });
  });
});

describe('scores of retrieval', () => {
  const unit = (rows: number[][]) => ({ size: rows[0]!.length, values: Float32Array.from(rows.flat()) });

  it('counts a query as found when any that belongs to it is among the nearest', () => {
    const found = candidatesOf([
      { text: 'a', image: '1', label: '' },
      { text: 'b', image: '1', label: '' },
      { text: 'a', image: '2', label: '' },
      { text: 'c', image: '3', label: '' },
    ]);
    expect(found).toEqual({
      images: [0, 2, 3],
      texts: [0, 1, 3],
      textsOf: [[0, 1], [0], [2]],
      imagesOf: [[0, 1], [0], [2]],
    });
    const images = unit([
      [1, 0],
      [0, 1],
      [0.6, 0.8],
    ]);
    const texts = unit([
      [0, 1],
      [1, 0],
      [0, 1],
    ]);
    // The third image is nearer to the first text, and as near to its own.
    expect(ranks(images, texts, found.textsOf)).toEqual([0, 1, 1]);
    expect(recallAt([0, 1, 1, 7], 1)).toBe(0.25);
    expect(recallAt([0, 1, 1, 7], 5)).toBe(0.75);
  });

  it('a model that finds all alike finds nothing', () => {
    const alike = unit(Array.from({ length: 5 }, () => [1, 0]));
    const own = Array.from({ length: 5 }, (_, i) => [i]);
    expect(recallAt(ranks(alike, alike, own), 1)).toBe(0);
    expect(
      classRanks(
        alike,
        ['x', 'y', 'x', '', ''],
        ['x', 'y'],
        unit([
          [1, 0],
          [1, 0],
        ]),
      ),
    ).toEqual([1, 1, 1]);
  });

  it('takes labelled images for the class that is the nearest, of several templates their mean', () => {
    const images = unit([
      [1, 0],
      [0, 1],
      [0.8, 0.6],
    ]);
    const classes = meanVectors(
      unit([
        [1, 0],
        [0.6, 0.8],
        [0, 1],
        [0, 1],
      ]),
      2,
    );
    for (const [i, value] of [0.8944, 0.4472, 0, 1].entries())
      expect(classes.values[i]).toBeCloseTo(value, 4);
    const labels = classRanks(images, ['x', 'y', 'y'], ['x', 'y'], classes);
    expect(labels.filter((rank) => rank === 0)).toHaveLength(2);
    const none = { images: [0, 1, 1], texts: [0, 0], labels: [] };
    expect(retrievalScores({ ...none, labels }, 2)).toMatchObject({ classes: 2, zeroShotAccuracy: 2 / 3 });
    expect(classRanks(images, ['x', 'y', ''], ['x', 'y'], classes)).toEqual([0, 0]);
    // One class alone is no choice.
    expect(classRanks(images, ['x', 'x', ''], ['x'], classes)).toEqual([]);
    expect(retrievalScores(none, 1)).toMatchObject({ images: 3, texts: 2, zeroShotAccuracy: 0 });
  });
});
