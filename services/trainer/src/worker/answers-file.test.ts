import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { AnswersFile } from './answers-file.ts';

it('keeps answers through a line that a kill has cut', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'landfall-answers-'));
  try {
    const file = new AnswersFile(path.join(folder, 'job'), 'tuned');
    expect((await file.read()).size).toBe(0);
    await file.append(0, '一\n二');
    appendFileSync(path.join(folder, 'job', 'answers-tuned.jsonl'), '\n[1,"cu');
    await file.append(2, '三');
    expect([...(await file.read())]).toEqual([
      [0, '一\n二'],
      [2, '三'],
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
