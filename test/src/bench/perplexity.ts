import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeCorpus } from '@landfall/deploy/base-model/corpus.ts';
import { openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { CachedDecoder } from '@landfall/graph/serving/cached-decoder.ts';
import type { PackingOptions } from '@landfall/graph/serving/packed-weights.ts';
import { loadTokenizer } from '@landfall/trainer/engine/data/tokenizer.ts';
import type { Report } from './report.ts';

const DEMO = join(import.meta.dirname, '../../../deploy/demo');
const BLOCK = 16;
const SEED = 20_261_125;

const FORMS: readonly (PackingOptions & { name: string })[] = [
  { name: 'float32', precision: 'float32', int4Block: 32 },
  { name: 'int8', precision: 'int8', int4Block: 32 },
  ...[32, 64, 128].map((int4Block) => ({ name: `int4-${int4Block}`, precision: 'int4' as const, int4Block })),
];

/** Answers whose likelihood is measured, each behind its question: [ids, how many of them are the answer]. */
type Scored = [number[], number];

/**
 * `npm run bench -- perplexity [--model DIR --text FILE.json] [--rows 200]`: perplexity of the serving engine's forms of
 * weights. Without a model the demo's base model is measured on answers of its corpus' generator with a seed that it was
 * not trained with; a file holds an array of texts.
 */
export async function run(report: Report, args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      model: { type: 'string', default: join(DEMO, 'base-model') },
      text: { type: 'string' },
      rows: { type: 'string', default: '200' },
    },
  });
  const cacheFolder = mkdtempSync(join(tmpdir(), 'landfall-bench-'));
  try {
    const tokenizer = await loadTokenizer(values.model);
    const all: Scored[] = values.text
      ? (JSON.parse(readFileSync(values.text, 'utf8')) as string[]).map((text) => {
          const ids = tokenizer.encode(text);
          return [ids, ids.length - 1];
        })
      : makeCorpus(SEED, Number(values.rows)).flatMap((text): Scored[] => {
          if (text.kind !== 'chat' || text.turns.length > 1) return [];
          const [{ question, answer }] = text.turns as [{ question: string; answer: string }];
          const asked = tokenizer.encode(tokenizer.renderChat([{ role: 'user', content: question }], true));
          const answered = tokenizer.encode(answer);
          return [[[...asked, ...answered], answered.length]];
        });
    const rows = all.filter(([, scored]) => scored > 0).slice(0, Number(values.rows));
    const found = new Map<string, number>();
    for (const form of FORMS) {
      const perplexity = await measure(values.model, cacheFolder, form, rows);
      found.set(form.name, perplexity);
      report.figure(`${form.name}.perplexity`, perplexity, '');
    }
    for (const { name } of FORMS.slice(1))
      report.ratio(`${name}-of-float32`, found.get(name)!, found.get('float32')!, 'perplexity');
    return { perplexity: Object.fromEntries(found) };
  } finally {
    rmSync(cacheFolder, { recursive: true, force: true });
  }
}

async function measure(
  folder: string,
  cacheFolder: string,
  { precision, int4Block }: PackingOptions,
  rows: readonly Scored[],
): Promise<number> {
  const checkpoint = openCheckpoint(folder);
  const most = checkpoint.config.maxPositions;
  const blocks = Math.ceil(most / BLOCK);
  const options = {
    threads: 2,
    cacheFolder,
    blocks,
    blockSize: BLOCK,
    adapterSlots: 0,
    precision,
    int4Block,
  };
  const decoder = await CachedDecoder.create(checkpoint, options);
  const blockTable = Array.from({ length: blocks }, (_, i) => i);
  let sum = 0;
  let count = 0;
  for (const [all, scored] of rows) {
    const ids = all.slice(0, most);
    const targets = ids.slice(all.length - scored);
    if (targets.length === 0) continue;
    const row = { tokens: ids.slice(0, -1), start: 0, blockTable, adapterSlot: 0, targets };
    const [scores] = await decoder.step([row]);
    for (const score of scores!) sum += score;
    count += scores!.length;
  }
  await decoder.release();
  return Math.exp(-sum / count);
}
