/**
 * Makes the category model of services/filtering from templates and a seed, with nothing else than this repository:
 * `node deploy/src/category-model/train.ts [--out FOLDER] [--seed 1] [--count 3000] [--epochs 4]`
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CATEGORIES } from '@landfall/filtering/categories/model.ts';
import { makeCorpus } from '../base-model/corpus.ts';
import { Random } from '../base-model/random.ts';
import { type Example, makeExamples, makeWordExamples } from './generate.ts';
import { BITS, learn, type Row, rowsOf } from './regression.ts';

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: join(import.meta.dirname, '../../../services/filtering/src/data') },
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '3000' },
    epochs: { type: 'string', default: '4' },
  },
});
const [seed, count, epochs] = [values.seed, values.count, values.epochs].map(Number) as [
  number,
  number,
  number,
];
const random = new Random(seed);
const examples = [
  ...makeExamples(random, count, 'learn'),
  ...makeWordExamples(random, count),
  ...plainTexts(),
];
const rows: Row[] = random.shuffle(
  examples.flatMap(({ text, category }) =>
    rowsOf(text).map((features) => ({ features, category: category ? CATEGORIES.indexOf(category) : -1 })),
  ),
);
process.stderr.write(`${examples.length} texts, ${rows.length} windows\n`);
const { weights, scales, biases } = learn(rows, {
  epochs,
  random,
  log: (line) => process.stderr.write(`${line}\n`),
});
writeFileSync(join(values.out, 'categories.bin'), weights);
const about = { categories: CATEGORIES, bits: BITS, scales, biases, seed, count, epochs };
writeFileSync(join(values.out, 'categories.json'), `${JSON.stringify(about, undefined, 2)}\n`);
process.stderr.write(`${values.out}: ${weights.length} bytes; npm run filter:eval tells what it is worth\n`);

/** Texts of this repository that are of no category: advice, sums, copying, medical questions with their answers. */
function plainTexts(): Example[] {
  const file = join(import.meta.dirname, '../../demo/data/medical_qa_train.json');
  const medical = JSON.parse(readFileSync(file, 'utf8')) as { question: string; answer: string }[];
  const texts = makeCorpus(seed, 2 * count).map((text) =>
    text.kind === 'prose'
      ? text.text
      : text.turns.map(({ question, answer }) => `${question}${answer}`).join(''),
  );
  return [...texts, ...medical.map(({ question, answer }) => `${question}${answer}`)].map((text) => ({
    text,
    category: undefined,
  }));
}
