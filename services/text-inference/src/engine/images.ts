/** What images mean to a step of the engine: which of them stand among a row's tokens, and what tokens look at. */

import type { ImageGrid } from './prompt.ts';
import type { StepRow } from './runner.ts';
import type { PlannedRow } from './scheduler.ts';
import type { EngineRequest, PromptImage, Sequence } from './sequence.ts';

/** @throws RangeError where a request's images can't stand where it says, or there is nothing to look at */
export function checkImages(
  { prompt, images = [], attend }: EngineRequest,
  grid: ImageGrid | undefined,
): void {
  if (!grid) throw new RangeError('the model reads text alone');
  let end = 0;
  for (const { at } of images) {
    const own = prompt.slice(at, at + grid.count);
    if (at < end || own.length < grid.count || own.some((token) => token !== grid.token))
      throw new RangeError(`no image of ${grid.count} tokens can stand at token ${at}`);
    end = at + grid.count;
  }
  if (attend && images.length === 0) throw new RangeError('there is no image to look at');
}

/** What a row needs to know of a request's images. */
export function imageParts(
  row: PlannedRow,
  images: readonly PromptImage[],
  grid: ImageGrid,
): Pick<StepRow, 'images' | 'looks'> {
  const { sequence, tokens } = row;
  const first = sequence.computed - sequence.prefix;
  const near = images.filter(({ at }) => at < first + tokens.length && at + grid.count > first);
  const parts = near.map(({ at, tokens: seen }) => ({ from: at - first, tokens: seen }));
  const asked = askedOf(row);
  if (asked.length === 0) return { images: parts };
  const over = images.map(({ at }) => ({
    from: sequence.prefix + at + grid.before,
    count: grid.rows * grid.columns,
  }));
  return { images: parts, looks: { queries: asked.map((token) => token - first), over } };
}

/**
 * Tokens of a row that are asked what they look at, as indices of those given to the sequence: a token of a completion is
 * chosen where the one before it is read.
 */
export function askedOf({ sequence, tokens, own }: PlannedRow): number[] {
  const { attend, prompt } = sequence.request;
  if (!attend || own) return [];
  const first = sequence.computed - sequence.prefix;
  const asked = new Set(attend.flat().map((token) => prompt.length - 1 + token));
  return [...asked].filter((at) => at >= first && at < first + tokens.length).sort((a, b) => a - b);
}

/** @param shares [asked, positions] */
export function keepLooked(sequence: Sequence, asked: readonly number[], shares: Float32Array): void {
  const width = shares.length / asked.length;
  for (const [i, at] of asked.entries()) sequence.looked.set(at, shares.slice(i * width, (i + 1) * width));
}

/**
 * The mean over the tokens of each part, divided among the patches of each image; an image that no token can see, since
 * the model's window has passed it, is seen evenly.
 */
export function attentionMaps(sequence: Sequence, images: number, patches: number): Float32Array[][] {
  const { attend = [], prompt } = sequence.request;
  return attend.map((tokens) => {
    const sums = new Float32Array(images * patches);
    for (const token of tokens) {
      const shares = sequence.looked.get(prompt.length - 1 + token)!;
      for (let i = 0; i < sums.length; i++) sums[i]! += shares[i]!;
    }
    return Array.from({ length: images }, (_, image) => {
      const own = sums.slice(image * patches, (image + 1) * patches);
      const whole = own.reduce((sum, value) => sum + value, 0);
      return own.map((value) => (whole > 0 ? value / whole : 1 / patches));
    });
  });
}
