import type { ClipConfig } from '@landfall/graph/models/clip-config.ts';
import { areApart, type PairKeys } from '@landfall/graph/training/pair-targets.ts';
import { isOnlyDuplicates } from '../data/check.ts';
import type { Example, ExampleImage } from '../data/example.ts';
import { checkFolder } from '../data/files.ts';
import type { IssueReport } from '../data/issues.ts';
import { loadTokenizer } from '../data/tokenizer.ts';
import { TrainingError } from '../train/errors.ts';

/** An image and its caption, ready to be trained on. */
export interface Pair {
  image: ExampleImage;
  /** Tokens, begin and end tokens included. */
  ids: number[];
  keys: PairKeys;
}

/** Gives a text's tokens as the text tower reads them, begin and end tokens included, cut to what it holds. */
export type Encode = (text: string) => { ids: number[]; uncut: number };

/** The tokenizer of a CLIP's folder. @param maxLength tokens at most @throws TrainingError */
export async function openEncoder(modelFolder: string, maxLength: number): Promise<Encode> {
  const tokenizer = await loadTokenizer(modelFolder).catch((error: Error) => {
    throw new TrainingError('model', `the tokenizer can't be used: ${error.message}`);
  });
  return (text) => {
    const all = tokenizer.encodePrompt(tokenizer.guard(text));
    // The end mark stands for the text, so it is not what is cut off.
    const ids = all.length > maxLength ? [...all.slice(0, maxLength - 1), all.at(-1)!] : all;
    return { ids, uncut: all.length };
  };
}

/** Pairs of a data set. */
export interface PreparedPairs {
  pairs: Pair[];
  /** What was left out or cut. */
  report: IssueReport;
}

/** How many rows a reader is named. */
const ROWS_NAMED = 10;

/**
 * Reads, checks and tokenises a data set of pairs. The same folder gives the same pairs in the same order.
 *
 * @throws TrainingError where a row is no pair, or no two pairs are to be told apart
 */
export async function preparePairs(
  datasetFolder: string,
  encode: Encode,
  { text }: ClipConfig,
): Promise<PreparedPairs> {
  const checked = await checkFolder(datasetFolder);
  const { report, examples } = checked;
  const refuse = (why: string) => new TrainingError('data', `${why}: ${report.summary(ROWS_NAMED)}`);
  if (examples.length === 0) throw refuse('the data has no usable row');
  if (isOnlyDuplicates(checked)) throw refuse('all rows of the data are the same');
  const other = examples.find(({ pair }) => !pair);
  if (other) throw new TrainingError('data', `row ${other.row} is no image with its caption`);
  const pairs = examples.map((example) => {
    const { ids, uncut } = encode(example.answer);
    if (ids.length < uncut) report.add(example.row, 'too_long', `${uncut} tokens, cut to ${ids.length}`);
    const wrong = ids.find((id) => id >= text.vocabSize);
    if (wrong !== undefined)
      throw new TrainingError(
        'model',
        `the tokenizer gives the token ${wrong}, and the text tower knows ${text.vocabSize}`,
      );
    // Captions that are cut to the same tokens are the same to the model.
    return { image: example.images![0]!, ids, keys: { ...keysOf(example), text: ids.join() } };
  });
  if (!someApart(pairs.map(({ keys }) => keys)))
    throw refuse('no two rows differ in image, caption and label: there is nothing to tell apart');
  return { pairs, report };
}

/** What tells a row of image and caption from others. */
export const keysOf = ({ answer, images, pair }: Example): PairKeys => ({
  text: answer,
  image: images![0]!.digest,
  label: pair!.label,
});

/** Whether any two pairs are wrong answers to one another. */
export const someApart = (keys: readonly PairKeys[]): boolean => firstApart(keys) !== undefined;

/** Two pairs that are wrong answers to one another, by their indices. */
export function firstApart(keys: readonly PairKeys[]): [number, number] | undefined {
  // As a rule the first pair already differs from another.
  for (const [i, one] of keys.entries()) {
    const j = keys.findIndex((other) => areApart(one, other));
    if (j >= 0) return [i, j];
  }
  return undefined;
}
