/**
 * `npm run filter:eval [-- --threshold 0.8] [--file FILE.jsonl]`: what the category model is worth on texts that it has
 * not learnt from: those of templates kept back, those written by hand, and those of a file, one object a line with
 * `text` and `labels`, a number (1 or 0) by category. Prints a line a category, then all of it as JSON.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CATEGORIES, type Category } from '@landfall/filtering/categories/model.ts';
import { CategoryScanner } from '@landfall/filtering/categories/scanner.ts';
import { Random } from '../base-model/random.ts';
import { figuresOf, type Labelled } from './figures.ts';
import { makeExamples } from './generate.ts';
import { HELD_OUT } from './held-out.ts';

const { values } = parseArgs({
  options: { threshold: { type: 'string', default: '0.8' }, file: { type: 'string' } },
});
const threshold = Number(values.threshold);
const sets: Record<string, Labelled[]> = { templates: templates(), 'by hand': byHand() };
if (values.file) sets.file = ofFile(values.file);

const results = Object.entries(sets).map(([set, texts]) => [set, figuresOf(texts, threshold)] as const);
for (const [set, figures] of results) {
  for (const [category, { texts, recall, falseAlarms, auc }] of Object.entries(figures)) {
    const shown = [recall, falseAlarms, auc].map((figure) => figure.toFixed(3));
    console.log(
      `${set}: ${category} texts=${texts} recall=${shown[0]} falseAlarms=${shown[1]} auc=${shown[2]}`,
    );
  }
}
const megabytesPerSecond = speed(Object.values(sets).flat());
console.log(JSON.stringify({ threshold, ...Object.fromEntries(results), megabytesPerSecond }));

function templates(): Labelled[] {
  return makeExamples(new Random(2), 400, 'held out').map(({ text, category }) => labelled(text, category));
}

function byHand(): Labelled[] {
  return Object.entries(HELD_OUT).flatMap(([category, texts]) =>
    texts.map((text) => labelled(text, category === 'none' ? undefined : (category as Category))),
  );
}

/** A text of one category may well be of others too: only those of none are known not to be of it. */
function labelled(text: string, category: Category | undefined): Labelled {
  return category ? { text, of: [category], notOf: [] } : { text, of: [], notOf: CATEGORIES };
}

function ofFile(path: string): Labelled[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.flatMap((line, i) => {
    if (line.trim() === '') return [];
    const { text, labels } = JSON.parse(line) as { text?: unknown; labels?: Record<string, number> };
    if (typeof text !== 'string' || !labels) throw new Error(`${path}, line ${i + 1}: give text and labels`);
    const marked = (mark: number) => CATEGORIES.filter((category) => labels[category] === mark);
    return [{ text, of: marked(1), notOf: marked(0) }];
  });
}

/** Megabytes of UTF-8 that a second of this processor reads; the best of five. */
function speed(texts: readonly Labelled[]): number {
  const all = texts.map(({ text }) => text);
  const bytes = all.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  let best = 0;
  for (let trial = 0; trial < 5; trial++) {
    const before = process.cpuUsage();
    for (const text of all) {
      const scanner = new CategoryScanner(() => false);
      scanner.push(text);
      scanner.end();
    }
    best = Math.max(best, bytes / process.cpuUsage(before).user);
  }
  return Number(best.toFixed(1));
}
