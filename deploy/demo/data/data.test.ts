import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

interface Row {
  question: string;
  answer: string;
}

const read = (name: string) => JSON.parse(readFileSync(join(import.meta.dirname, name), 'utf8')) as Row[];
const train = read('medical_qa_train.json');
const validation = read('medical_qa_val.json');
/** What is left when width, case, punctuation and spaces are taken away. */
const bare = (text: string) => text.normalize('NFKC').toLowerCase().replaceAll(/[\p{P}\p{Z}\p{S}]/gu, '');

test('there are a few hundred rows, each with a question and an answer', () => {
  expect(train.length + validation.length).toBeGreaterThan(300);
  for (const row of [...train, ...validation]) {
    expect(Object.keys(row)).toEqual(['question', 'answer']);
    expect(row.question.trim()).not.toBe('');
    expect(row.answer.trim()).not.toBe('');
    expect(row.question + row.answer).not.toMatch(/\ufffd|\p{Cc}/u);
  }
});

test('no validation question is a copy of a training question, and no question stands twice', () => {
  const questions = [...train, ...validation].map((row) => bare(row.question));
  expect(new Set(questions).size).toBe(questions.length);
});

test('every validation answer was taught, in other words of its question', () => {
  const taught = new Set(train.map((row) => row.answer));
  for (const row of validation) expect(taught).toContain(row.answer);
});

test('the base model’s corpus holds none of the answers', async () => {
  const { makeCorpus } = await import('../../src/base-model/corpus.ts');
  const corpus = makeCorpus(1, 40_000)
    .map((text) => (text.kind === 'prose' ? text.text : text.turns.map((turn) => turn.answer).join('\n')))
    .join('\n');
  for (const { answer } of validation) {
    expect(corpus).not.toContain(answer);
    expect(corpus).not.toContain(answer.slice(0, 16));
  }
});
