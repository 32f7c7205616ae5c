import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { AnswersFile } from './answers-file.ts';

it('keeps answers through a line that a kill has cut', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'landfall-answers-'));
  try {
    const file = await AnswersFile.open<string>(path.join(folder, 'job'), 'tuned');
    expect(file.size).toBe(0);
    await file.set(0, '一\n二');
    appendFileSync(path.join(folder, 'job', 'answers-tuned.jsonl'), '\n[1,"cu');
    await file.set(2, '三');
    const again = await AnswersFile.open<string>(path.join(folder, 'job'), 'tuned');
    expect([0, 1, 2].map((row) => again.get(row))).toEqual(['一\n二', undefined, '三']);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
