import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const golden = process.env.LANDFALL_GOLDEN_DIR ?? '';
const present = existsSync(golden);
if (!present) console.info(`skipped: no reference cases at ${golden}; set LANDFALL_GOLDEN_DIR`);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'landfall-conformance-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function conformance(...args: string[]) {
  const main = path.join(import.meta.dirname, 'main.ts');
  const { status, stdout } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
  const lines = stdout.trim().split('\n');
  return { status, lines: lines.slice(0, -1), counts: JSON.parse(lines.at(-1)!) as Record<string, number> };
}

describe('the conformance command', () => {
  it('finds cases by their content, fails on wrong numbers, and names what is missing', () => {
    const metrics = path.join(folder, 'own', 'metrics');
    mkdirSync(metrics, { recursive: true });
    const entry = {
      tokenize: 'zh',
      hypotheses: ['高血压'],
      references: ['高血压'],
      corpus_bleu: 0,
      precisions: [100],
    };
    writeFileSync(path.join(metrics, 'mine.json'), JSON.stringify([{ ...entry, corpus_bleu: 12 }]));
    writeFileSync(path.join(metrics, 'other.json'), JSON.stringify([{ ...entry, tokenize: 'spm' }]));
    writeFileSync(path.join(metrics, 'notes.json'), '{"a": 1}');
    const { status, lines, counts } = conformance(folder);
    expect(lines[0]).toMatch(/^fail own\/metrics\/mine largest_error=/);
    expect(lines[1]).toMatch(/^unsupported own\/metrics\/other largest_error=- missing: BLEU tokenizer spm$/);
    expect(counts).toEqual({ pass: 0, fail: 1, unsupported: 1 });
    expect(status).toBe(1);
    expect(conformance(folder, '--only', 'other')).toMatchObject({ status: 0, counts: { unsupported: 1 } });
    expect(conformance(path.join(folder, 'own'), '--only', 'nothing').status).toBe(1);
  });

  it('passes the small cases that stand in the repository', () => {
    const small = path.join(import.meta.dirname, '../../../services/graph/test/fixtures/reference');
    const { status, lines, counts } = conformance(small);
    expect(lines.filter((line) => !line.startsWith('pass'))).toEqual([]);
    expect(counts).toEqual({ pass: 18, fail: 0, unsupported: 0 });
    expect(status).toBe(0);
  });

  it.skipIf(!present)('passes the reference cases that it supports', () => {
    const { status, lines, counts } = conformance(golden);
    expect(lines.filter((line) => line.startsWith('fail'))).toEqual([]);
    expect(counts.pass).toBeGreaterThanOrEqual(23);
    expect(status).toBe(0);
  });

  it.skipIf(!present)('fails a case whose expected numbers are off, and one that cannot be read', () => {
    const root = path.join(folder, 'changed');
    for (const name of ['llama', 'llama-lora'])
      cpSync(path.join(golden, name), path.join(root, name), { recursive: true });
    const file = path.join(root, 'llama-lora', 'expected_training.json');
    const expected = JSON.parse(readFileSync(file, 'utf8')) as { log: { losses: number[] }[] };
    expected.log[3]!.losses[0]! += 3e-4;
    writeFileSync(file, JSON.stringify(expected));
    writeFileSync(path.join(root, 'llama', 'model.safetensors'), 'short');
    const broken = conformance(root);
    expect(broken.counts.fail).toBeGreaterThanOrEqual(3);
    cpSync(path.join(golden, 'llama'), path.join(root, 'llama'), { recursive: true });
    const { lines, counts } = conformance(root);
    expect(lines.filter((line) => line.startsWith('fail')).map((line) => line.split(' ')[1])).toEqual([
      'llama-lora/training',
    ]);
    expect(counts).toEqual({ pass: 3, fail: 1, unsupported: 0 });
  });
});
