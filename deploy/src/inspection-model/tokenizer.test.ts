import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadTokenizer } from '@landfall/trainer/engine/data/tokenizer.ts';
import { afterAll, expect, test } from 'vitest';
import { answerOf, PROMPTS } from './answer.ts';
import { writeInspectionTokenizer } from './tokenizer.ts';

const folder = mkdtempSync(join(tmpdir(), 'landfall-inspection-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const { vocabularySize, imageToken } = writeInspectionTokenizer(folder);
const tokenizer = await loadTokenizer(folder);

test('an answer takes 13 tokens a defect and the ends of the list', () => {
  const target = { type: 'scratch', severity: 'severe', box: [1, 2, 64, 33] } as const;
  const of = (count: number) =>
    tokenizer.encode(answerOf(Array.from({ length: count }, () => ({ ...target, box: [...target.box] }))))
      .length;
  expect([of(0), of(1), of(2)]).toEqual([2, 15, 28]);
});

test('a question holds the image once', () => {
  for (const prompt of Object.values(PROMPTS)) {
    const ids = tokenizer.encode(tokenizer.renderChat([{ role: 'user', content: prompt }], true));
    expect(ids.filter((id) => id === imageToken)).toHaveLength(1);
    expect(Math.max(...ids)).toBeLessThan(vocabularySize);
  }
});

test('any text has tokens, other languages and other numbers too', () => {
  for (const text of ['你好,世界', 'Überprüfung 12345', '🙂'])
    expect(tokenizer.encode(text).length).toBeGreaterThan(0);
});
