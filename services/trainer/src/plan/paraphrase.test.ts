import { describe, expect, it } from 'vitest';
import { instruction, readParaphrase } from './paraphrase.ts';

describe('a paraphrase', () => {
  it.each([
    ['流感怎么预防?', '改写:「如何预防流感?」\n这样可以吗', '如何预防流感?'],
    ['流感怎么预防?', '\n  应该怎样预防流感?', '应该怎样预防流感?'],
    ['How is flu prevented?', 'Rephrased: "What prevents the flu?"', 'What prevents the flu?'],
  ])('of %j is read from %j', (question, reply, found) => {
    expect(readParaphrase(question, reply)).toBe(found);
  });

  it.each([
    ['流感怎么预防?', ''],
    ['流感怎么预防?', ' \n '],
    ['流感怎么预防?', '流感怎么预防?'],
    ['流感怎么预防?', '问题:流感怎么预防'],
    ['流感怎么预防?', '好'],
    ['流感怎么预防?', `${'流感的预防要靠每年接种疫苗,'.repeat(4)}`],
    ['流感怎么预防?', '如何预防\ufffd?'],
  ])('of %j is not found in %j', (question, reply) => {
    expect(readParaphrase(question, reply)).toBeUndefined();
  });

  it('is asked for in the language of the question', () => {
    expect(instruction('流感怎么预防?')).toContain('换一种说法');
    expect(instruction('How is flu prevented?')).toContain('Rephrase');
  });
});
