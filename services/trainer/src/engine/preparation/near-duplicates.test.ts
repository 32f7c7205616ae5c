import { randomOf } from '@landfall/metrics/random.ts';
import { describe, expect, it } from 'vitest';
import { NearDuplicates, sketchOf } from './near-duplicates.ts';
import { jaccard, normalise, shinglesOf } from './shingles.ts';

const seed = BigInt(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`near duplicates: LANDFALL_TEST_SEED=${seed}`);
const random = randomOf(seed, 'near');

const letter = () => String.fromCharCode(0x4e00 + Math.floor(random() * 3000));
const text = (length: number) => Array.from({ length }, letter).join('');
/** The text with some of its characters replaced. */
const altered = (original: string, count: number) => {
  const letters = [...original];
  for (let i = 0; i < count; i++) letters[Math.floor(random() * letters.length)] = letter();
  return letters.join('');
};
const index = (texts: string[], threshold: number) => {
  const near = new NearDuplicates(threshold, (id) => [shinglesOf(texts[id]!)]);
  for (const [id, one] of texts.entries()) near.add(id, sketchOf([shinglesOf(one)]));
  return near;
};

describe('shinglesOf', () => {
  it('compares without case, width, blanks and punctuation', () => {
    expect(shinglesOf('高血压,怎么办?')).toEqual(shinglesOf('高血压 怎么办'));
    expect(shinglesOf('What IS ２?')).toEqual(shinglesOf('what is 2'));
    expect(normalise('{}')).not.toBe(normalise('()'));
  });

  it('gives the similarity by its definition', () => {
    expect(jaccard(shinglesOf('甲乙丙丁'), shinglesOf('甲乙丙戊'))).toBeCloseTo(1 / 3, 10);
    expect(jaccard(shinglesOf('甲'), shinglesOf('甲'))).toBe(1);
    expect(jaccard(shinglesOf('abcdef'), shinglesOf('uvwxyz'))).toBe(0);
  });
});

describe('NearDuplicates', () => {
  it.each([0.5, 0.7, 0.85, 0.95])(
    'finds pairs at %d by their exact similarity, and no other',
    (threshold) => {
      const texts = Array.from({ length: 300 }, () => text(40 + Math.floor(random() * 60)));
      const near = index(texts, threshold);
      let [pairs, found] = [0, 0];
      for (const original of texts) {
        const other = altered(original, Math.floor(random() * 8));
        const similarity = jaccard(shinglesOf(original), shinglesOf(other));
        const id = near.find(sketchOf([shinglesOf(other)]));
        if (id !== undefined) {
          expect(jaccard(shinglesOf(texts[id]!), shinglesOf(other))).toBeGreaterThanOrEqual(threshold);
        }
        if (similarity < threshold) continue;
        pairs++;
        if (id !== undefined) found++;
      }
      expect(pairs).toBeGreaterThan(5);
      // Recall is a matter of chance; at the threshold it is 0.99 by construction, above it more.
      expect(found).toBeGreaterThanOrEqual(Math.floor(0.95 * pairs) - 1);
    },
  );

  it('asks for likeness of every part', () => {
    const question = text(200);
    const rows = [[question, '是']];
    const parts = (row: string[]) => row.map((one) => shinglesOf(one));
    const near = new NearDuplicates(0.85, (id) => parts(rows[id]!));
    near.add(0, sketchOf(parts(rows[0]!)));
    expect(near.find(sketchOf(parts([question, '是'])))).toBe(0);
    expect(near.find(sketchOf(parts([question, '否'])))).toBeUndefined();
  });

  it('finds itself at a threshold of one, and stays quick where all share a boilerplate', () => {
    const boilerplate = text(100);
    const texts = Array.from({ length: 2000 }, () => boilerplate + text(40));
    const near = index(texts, 1);
    expect(near.find(sketchOf([shinglesOf(texts[77]!)]))).toBe(77);
    const unlike = sketchOf([shinglesOf(boilerplate + text(100))]);
    expect(near.find(unlike)).toBeUndefined();
    expect(index(texts, 0.85).find(unlike)).toBeUndefined();
  });
});
