import { expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import { randomSequences } from '../../test/random-model.ts';
import { IGNORED, MASKED, packSequences } from './packing.ts';

const random = generator(testSeed('packing'));

test('every token sees its own sequence up to itself, the window and the prefix, and nothing else', () => {
  for (let round = 0; round < 20; round++) {
    const sequences = randomSequences(random, between(random, 1, 4), 9);
    const window = random() < 0.5 ? between(random, 1, 6) : undefined;
    const prefix = random() < 0.5 ? between(random, 1, 3) : 0;
    const batch = packSequences(sequences, window, prefix);
    const { longest } = batch;
    expect(batch.tokens).toBe(sequences.reduce((sum, { ids }) => sum + ids.length, 0));
    let row = 0;
    for (const [s, { ids }] of sequences.entries()) {
      for (let t = 0; t < ids.length; t++, row++) {
        expect(Number(batch.ids[row])).toBe(ids[t]);
        expect(Number(batch.positions[row])).toBe(prefix + t);
        const slot = s * longest + t;
        expect(Number(batch.rowSlots[row])).toBe(slot);
        expect(Number(batch.slotRows[slot])).toBe(row);
        expect(batch.slotMask[slot]).toBe(1);
        const at = slot * (prefix + longest);
        const seen = [...batch.mask.subarray(at, at + prefix + longest)];
        const wanted = seen.map((_, key) => {
          const near = window === undefined || prefix + t - key < window;
          return key <= prefix + t && near ? 0 : MASKED;
        });
        expect(seen).toEqual(wanted);
      }
    }
    expect(batch.slotMask.reduce((a, b) => a + b)).toBe(batch.tokens);
  }
});

test('a label stands at the token before it; the first of a sequence has none', () => {
  const batch = packSequences([
    { ids: [5, 6, 7], labels: [5, IGNORED, 7] },
    { ids: [8], labels: [8] },
    { ids: [9, 3], labels: [9, 3] },
  ]);
  expect([...batch.labelRows]).toEqual([1n, 4n]);
  expect([...batch.labels]).toEqual([7n, 3n]);
});
