import { describe, expect, it } from 'vitest';
import { distinct, rougeL, unitsOf } from './rouge.ts';

describe('ROUGE-L', () => {
  it('counts the longest common subsequence of words, and of characters in Chinese', () => {
    // Lin 2004: "police killed the gunman" against "police kill the gunman" shares three of four words.
    expect(rougeL('police kill the gunman', 'police killed the gunman')).toBeCloseTo(0.75, 12);
    expect(rougeL('the gunman kill police', 'police killed the gunman')).toBeCloseTo(0.5, 12);
    expect(unitsOf('每日 2 次,ABC!')).toEqual(['每', '日', '2', '次', 'abc']);
    // 高血压 of 患高血压 (4) and 高血压病 (4).
    expect(rougeL('患高血压', '高血压病')).toBeCloseTo((2 * 3) / 8, 12);
  });

  it('is 1 for the same text, 0 for nothing in common or one side empty', () => {
    expect(rougeL('少盐。', '少盐')).toBe(1);
    expect(rougeL('abc', 'def')).toBe(0);
    expect(rougeL('', 'x')).toBe(0);
    expect(rougeL('', '!')).toBe(1);
  });
});

describe('distinct-n', () => {
  it('is the share of different n-grams over all outputs', () => {
    expect(distinct(['a b a b'], 1)).toBe(0.5);
    expect(distinct(['a b a b'], 2)).toBeCloseTo(2 / 3, 12);
    expect(distinct(['a b', 'a b'], 2)).toBe(0.5);
    expect(distinct(['', 'a'], 2)).toBe(0);
  });
});
