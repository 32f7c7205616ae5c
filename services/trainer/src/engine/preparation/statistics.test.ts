import { expect, test } from 'vitest';
import { lengthFences, unusual } from './outliers.ts';
import { characters, Figures, quantile } from './statistics.ts';

const row = (question: string, answer: string) => ({ question, answer });

test('lengths count characters, not code units', () => {
  expect([characters(''), characters('高血压'), characters('a😀b')]).toEqual([0, 3, 3]);
  const figures = new Figures();
  for (const length of [1, 2, 3, 4, 100])
    figures.add(row('问'.repeat(length), `${'长'.repeat(60)}${length}`));
  const { question, rows, distinctAnswers, classes } = figures.statistics();
  expect(question).toEqual({ min: 1, median: 3, mean: 22, p95: 100, max: 100 });
  expect([rows, distinctAnswers, classes.size]).toEqual([5, 5, 0]);
  expect(quantile([1, 2, 3, 4], 0.25)).toBe(1.75);
  expect(new Figures().statistics().answer).toEqual({ min: 0, median: 0, mean: 0, p95: 0, max: 0 });
});

test('answers are classes where they are short and repeat', () => {
  const figures = new Figures();
  for (let i = 0; i < 30; i++) figures.add(row(`q${i}`, i % 3 ? '阴性' : '阳性'));
  expect([...figures.statistics().classes]).toEqual([
    ['阴性', 20],
    ['阳性', 10],
  ]);
  const texts = new Figures();
  for (let i = 0; i < 30; i++) texts.add(row(`q${i}`, `答${i >> 1}`));
  expect(texts.classes()).toBeUndefined();
  const shown = new Figures();
  for (let i = 0; i < 9; i++) shown.add(row('q', '13812345678'), '[PHONE]');
  expect([...shown.statistics().classes.keys()]).toEqual(['[PHONE]']);
});

test('fences follow the quartiles, and are wide where rows hardly differ', () => {
  const lengths = Array.from({ length: 105 }, (_, i) => 20 + (i % 21));
  const { low, high } = lengthFences(lengths)!;
  expect([low, high]).toEqual([25 - 45, 35 + 45]);
  expect(unusual('answer', 80, { low, high })).toBeUndefined();
  expect(unusual('answer', 81, { low, high })).toBe('answer has 81 characters; 1 to 80 are usual here');
  expect(lengthFences(Array(50).fill(100))).toEqual({ low: -50, high: 250 });
  expect(lengthFences(lengths.slice(0, 19))).toBeUndefined();
});
