/**
 * `npm run pii:generate -- FILE.jsonl [--family held-out] [--rows 4000] [--seed 1]`: texts with made personal data in
 * the presidio-research format, half Chinese, half English.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Sample } from './samples.ts';
import { FAMILIES } from './templates.ts';
import { type Filler, type Slot, Values } from './values.ts';

const SLOT = /\{\{(\w+)\}\}/g;

/** Samples of a family of templates; the same seed gives the same ones. */
export function generate(family: keyof typeof FAMILIES, rows: number, seed: number): Sample[] {
  const values = new Values(seed);
  const templates = FAMILIES[family];
  return Array.from({ length: rows }, (_, row) => fill(templates[row % templates.length]!, values));
}

function fill(template: string, values: Values): Sample {
  const chinese = /[\u4e00-\u9fff]/.test(template);
  const spans: Sample['spans'] = [];
  let text = '';
  let at = 0;
  for (const { 0: slot, 1: name, index } of template.matchAll(SLOT)) {
    text += template.slice(at, index);
    at = index + slot.length;
    if (/[a-z]/.test(name!)) {
      text += values.filler(name as Filler, chinese);
      continue;
    }
    const value = values.value(name as Slot, chinese);
    const start = [...text].length;
    spans.push({
      entity_type: name!,
      entity_value: value,
      start_position: start,
      end_position: start + [...value].length,
    });
    text += value;
  }
  return { full_text: text + template.slice(at), spans };
}

if (import.meta.main) {
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      family: { type: 'string', default: 'held-out' },
      rows: { type: 'string', default: '4000' },
      seed: { type: 'string', default: '1' },
    },
  });
  const [path] = positionals;
  if (!path || !(options.family in FAMILIES)) {
    process.stderr.write(
      'npm run pii:generate -- FILE.jsonl [--family tuned|held-out] [--rows N] [--seed N]\n',
    );
    process.exitCode = 1;
  } else {
    const samples = generate(
      options.family as keyof typeof FAMILIES,
      Number(options.rows),
      Number(options.seed),
    );
    writeFileSync(path, samples.map((sample) => `${JSON.stringify(sample)}\n`).join(''));
  }
}
