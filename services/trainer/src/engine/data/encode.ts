import type { Example, ExampleImage } from './example.ts';
import type { IssueReport } from './issues.ts';
import { goesThroughChat, type PromptTemplate, renderExample } from './template.ts';
import type { Tokenizer } from './tokenizer.ts';

/** No loss at this position. */
export const IGNORE = -100;

/** How images stand among a model's tokens. */
export interface ImageGrid {
  /** The token in whose places an image stands. */
  token: number;
  /** Tokens of an image. */
  count: number;
}

/** One sequence: prompt, answer, end token. */
export interface Sequence {
  /** Row in the data set, from 1. */
  row: number;
  inputIds: Int32Array;
  /** As `inputIds`, with the prompt masked by IGNORE; shifted by one only in the loss. */
  labels: Int32Array;
  /** What it shows, in the order of its image tokens. */
  images?: ExampleImage[];
}

/**
 * Puts a row into a template and tokenises it as one sequence, loss on the answer and its end token only.
 *
 * @param maxLength longest sequence in tokens, those of images included; a longer one loses its end, and is reported
 * @param grid where the model reads images
 * @returns undefined when no label is left, which is reported too
 */
export function encodeExample(
  example: Example,
  template: PromptTemplate,
  tokenizer: Tokenizer,
  maxLength: number,
  report: IssueReport,
  grid?: ImageGrid,
): Sequence | undefined {
  const { prompt, completion, ended } = renderExample(template, tokenizer, example);
  const chat = goesThroughChat(template, example);
  const encode = (text: string) => (chat ? tokenizer.encode(text) : tokenizer.encodePrompt(text));
  const bare = encode(prompt);
  const joined = join(bare, encode(prompt + completion), () => tokenizer.encode(completion));
  const { images } = example;
  const shown = grid ? bare.filter((id) => id === grid.token).length : 0;
  if (shown !== (images?.length ?? 0)) {
    const message = `the model's chat template puts in ${shown} images where ${images?.length ?? 0} are given`;
    report.add(example.row, 'image_places', message);
    return undefined;
  }
  const [promptIds, ids] = images && grid ? [spread(bare, grid), spread(joined, grid)] : [bare, joined];
  const end = tokenizer.endTokens[0];
  if (!ended && end !== undefined && ids.at(-1) !== end) ids.push(end);

  if (ids.length > maxLength) {
    report.add(example.row, 'too_long', `${ids.length} tokens, cut to ${maxLength}`);
    ids.length = maxLength;
  }
  if (promptIds.length >= ids.length) {
    report.add(example.row, 'no_label', `the prompt alone fills the ${maxLength} tokens of a sequence`);
    return undefined;
  }
  const inputIds = Int32Array.from(ids);
  const labels = inputIds.slice().fill(IGNORE, 0, promptIds.length);
  return { row: example.row, inputIds, labels, ...(images ? { images } : {}) };
}

/** Each image token as often as an image has tokens. */
const spread = (ids: readonly number[], { token, count }: ImageGrid) =>
  ids.flatMap((id) => (id === token ? new Array<number>(count).fill(token) : [id]));

/**
 * The whole text's ids where the prompt's are its beginning, which spares a tokenizer's own marks between words.
 * Where a token would span both, the parts: generation starts from the prompt's ids as they are.
 */
function join(prompt: number[], whole: number[], completion: () => number[]): number[] {
  const whollyPrefixed = whole.length > prompt.length && prompt.every((id, i) => whole[i] === id);
  return whollyPrefixed ? whole : [...prompt, ...completion()];
}
