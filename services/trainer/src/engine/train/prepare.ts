import { isOnlyDuplicates } from '../data/check.ts';
import { encodeExample, type Sequence } from '../data/encode.ts';
import { checkFolder } from '../data/files.ts';
import { IssueReport } from '../data/issues.ts';
import { parseTemplates } from '../data/template.ts';
import { loadTokenizer } from '../data/tokenizer.ts';
import { TrainingError } from './errors.ts';

/** Data that is ready to be trained on. */
export interface PreparedData {
  /** Per usable row, its sequence in each template. */
  rows: Sequence[][];
  /** What was left out or cut. */
  report: IssueReport;
}

/** Where the data comes from and how it is put. */
export interface PrepareOptions {
  /** Hugging Face folder with the tokenizer. */
  modelFolder: string;
  datasetFolder: string;
  /** Empty for the default template. */
  templates: readonly string[];
  /** Longest sequence in tokens. */
  maxLength: number;
}

/** How many rows a reader is named. */
const ROWS_NAMED = 10;

/**
 * Reads, checks, templates and tokenises a data set. The same folder gives the same rows in the same order.
 *
 * @throws TrainingError when no row is left to learn from, naming rows
 */
export async function prepareData(options: PrepareOptions): Promise<PreparedData> {
  const checked = await checkFolder(options.datasetFolder);
  const { report } = checked;
  const refuse = (why: string) => new TrainingError('data', `${why}: ${report.summary(ROWS_NAMED)}`);
  if (checked.examples.length === 0) throw refuse('the data has no usable row');
  if (isOnlyDuplicates(checked)) throw refuse('all rows of the data are the same');

  const tokenizer = await loadTokenizer(options.modelFolder).catch((error: Error) => {
    throw new TrainingError('model', `the tokenizer can't be used: ${error.message}`);
  });
  const templates = parseTemplates(options.templates, tokenizer.hasChatTemplate);
  const conversation = checked.examples.find(({ messages }) => messages);
  if (conversation && !tokenizer.hasChatTemplate)
    throw new TrainingError(
      'data',
      `row ${conversation.row} has messages, and the model has no chat template`,
    );
  const rows: Sequence[][] = [];
  for (const example of checked.examples) {
    const issues = new IssueReport();
    const encoded = templates.map((template) =>
      encodeExample(example, template, tokenizer, options.maxLength, issues),
    );
    // Said once a row, whatever the number of templates: without a label is worse than cut, and comes last.
    const worst = issues.issues.at(-1);
    if (worst) report.add(worst.row, worst.code, worst.message);
    if (encoded.every((sequence) => sequence !== undefined)) rows.push(encoded);
  }
  if (rows.length === 0) throw refuse('no row has a label left to learn');
  return { rows, report };
}
