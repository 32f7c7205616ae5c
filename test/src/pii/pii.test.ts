import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { evaluate } from './evaluate.ts';
import { generate } from './generate.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`pii: LANDFALL_TEST_SEED=${seed}`);

it('finds what has a check, names and addresses in texts that no rule was written for', () => {
  const { types } = evaluate(generate('held-out', 3800, seed));
  for (const type of ['id_number', 'card', 'iban', 'credit_code'] as const) {
    expect(types[type], type).toMatchObject({ truth: expect.any(Number) });
    expect(types[type]!.recall, type).toBeGreaterThanOrEqual(0.99);
    expect(types[type]!.precision, type).toBeGreaterThanOrEqual(0.98);
  }
  for (const type of ['person', 'address'] as const) {
    expect(types[type]!.f2, type).toBeGreaterThanOrEqual(0.85);
  }
});

it('reads other files: arrays, places in code points, kinds that nothing looks for', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pii-'));
  try {
    const file = join(folder, 'samples.json');
    const text = '😀😀 write to a@b.example at Initech Ltd';
    const span = (entity_type: string, value: string) => {
      const start = [...text.slice(0, text.indexOf(value))].length;
      return { entity_type, start_position: start, end_position: start + value.length };
    };
    const spans = [span('EMAIL_ADDRESS', 'a@b.example'), span('ORGANIZATION', 'Initech Ltd')];
    writeFileSync(file, JSON.stringify([{ full_text: text, spans, masked: 'ignored', template_id: 1 }]));
    const main = join(import.meta.dirname, 'main.ts');
    const lines = execFileSync(process.execPath, [main, file], { encoding: 'utf8' }).trim().split('\n');
    expect(lines[0]).toBe('EMAIL 1.0000 1.0000 1.0000');
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({
      types: { email: { truth: 1, found: 1, right: 1, exact: 1 } },
      unknown: { ORGANIZATION: 1 },
    });
    writeFileSync(file, '{"full_text":"a"}\n{"full_text":1}\n');
    expect(() => execFileSync(process.execPath, [main, file], { stdio: 'pipe' })).toThrow(/samples.json:2/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
