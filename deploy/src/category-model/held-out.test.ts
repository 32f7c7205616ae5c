import { CATEGORIES } from '@landfall/filtering/categories/model.ts';
import { expect, test } from 'vitest';
import { figuresOf } from './figures.ts';
import { HELD_OUT } from './held-out.ts';
import { WORDS } from './material/words.ts';

test('no phrase that is learnt from stands in the texts written by hand', () => {
  const texts = Object.values(HELD_OUT).flat().join('\n').toLowerCase();
  const isPhrase = (entry: string) =>
    /\p{Script=Han}/u.test(entry) ? entry.length > 2 : entry.includes(' ');
  const phrases = Object.values(WORDS).flatMap(({ zh, en }) => `${zh}|${en}`.split('|').filter(isPhrase));
  expect(phrases.length).toBeGreaterThan(500);
  expect(phrases.filter((phrase) => texts.includes(phrase.toLowerCase()))).toEqual([]);
});

test('the model that is kept tells texts written by hand apart, in every category', () => {
  const texts = Object.entries(HELD_OUT).flatMap(([name, list]) =>
    list.map((text) => ({
      text,
      of: CATEGORIES.filter((category) => category === name),
      notOf: name === 'none' ? CATEGORIES : [],
    })),
  );
  for (const [category, { auc, falseAlarms }] of Object.entries(figuresOf(texts, 0.8))) {
    expect(auc, category).toBeGreaterThan(0.85);
    expect(falseAlarms, category).toBeLessThan(0.05);
  }
});
