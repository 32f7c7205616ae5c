import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { readJsonObject } from '@landfall/graph/checkpoint/read-json.ts';
import { imageTokenCount } from '@landfall/graph/models/llava.ts';
import { readLlavaConfig } from '@landfall/graph/models/llava-config.ts';
import { isOnlyDuplicates } from '../data/check.ts';
import { encodeExample, type ImageGrid, type Sequence } from '../data/encode.ts';
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

  const grid = imageGrid(options.modelFolder);
  const shown = checked.examples.find(({ images }) => images);
  if (shown && !grid)
    throw new TrainingError('data', `row ${shown.row} shows an image, and the model reads text alone`);
  const tokenizer = await loadTokenizer(options.modelFolder, grid?.token).catch((error: Error) => {
    throw new TrainingError('model', `the tokenizer can't be used: ${error.message}`);
  });
  const templates = parseTemplates(options.templates, tokenizer.hasChatTemplate);
  const chat = checked.examples.find(({ messages, images }) => messages || images);
  if (chat && !tokenizer.hasChatTemplate)
    throw new TrainingError(
      'data',
      `row ${chat.row} has ${chat.messages ? 'messages' : 'an image'}, and the model has no chat template`,
    );
  const rows: Sequence[][] = [];
  for (const example of checked.examples) {
    const issues = new IssueReport();
    const encoded = templates.map((template) =>
      encodeExample(example, template, tokenizer, options.maxLength, issues, grid),
    );
    // Said once a row, whatever the number of templates: without a label is worse than cut, and comes last.
    const worst = issues.issues.at(-1);
    if (worst) report.add(worst.row, worst.code, worst.message);
    if (encoded.every((sequence) => sequence !== undefined)) rows.push(encoded);
  }
  if (rows.length === 0) throw refuse('no row has a label left to learn');
  return { rows, report };
}

/** How images stand among the model's tokens; undefined where it reads text alone. @throws TrainingError */
function imageGrid(modelFolder: string): ImageGrid | undefined {
  try {
    const json = readJsonObject(modelFolder, 'config.json');
    if (json.model_type !== 'llava') return undefined;
    const config = readLlavaConfig(json);
    return { token: config.imageToken, count: imageTokenCount(config) };
  } catch (error) {
    if (error instanceof CheckpointError)
      throw new TrainingError('model', `the base can't be trained: ${error.message}`);
    throw error;
  }
}
