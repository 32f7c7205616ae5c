import type { Example } from './example.ts';
import type { IssueReport } from './issues.ts';
import { textOf } from './text-field.ts';

/** Longest label; what is longer is a text and no class. */
const MAX_LABEL = 256;

/** Reads a row of an `image`, its `caption` and, where it has one, a `label`. @param paths of its images */
export function parsePair(
  row: number,
  fields: Record<string, unknown>,
  paths: readonly string[],
  report: IssueReport,
): Example | undefined {
  if (paths.length !== 1) {
    const message = `a caption goes with one image; the row has ${paths.length}`;
    report.add(row, paths.length === 0 ? 'missing_field' : 'image_places', message);
    return undefined;
  }
  const caption = textOf(row, 'caption', fields.caption, report);
  if (caption === undefined) return undefined;
  if (caption === '') {
    report.add(row, 'empty_caption', 'caption is empty');
    return undefined;
  }
  const label = fields.label === undefined ? '' : textOf(row, 'label', fields.label, report);
  if (label === undefined) return undefined;
  if (label.length > MAX_LABEL) {
    report.add(row, 'too_long', `label has ${label.length} characters; a class has at most ${MAX_LABEL}`);
    return undefined;
  }
  const images = [{ path: paths[0]!, file: '', digest: '' }];
  return { row, question: '', answer: caption, images, pair: { label } };
}

/** Class of a row: of a pair its label, where it has one; else the answer. */
export const classOf = ({ answer, pair }: Example): string => pair?.label || answer;

/** Notices images that come again under another caption or label, by their bytes. */
export class SeenImages {
  readonly #first = new Map<string, { row: number; label: string }>();

  /**
   * An image under another caption is kept and told of: the two are no wrong answers to one another. One under another
   * label can't be both.
   * @returns false for a row that contradicts an earlier one
   */
  keep({ row, images, pair }: Example, report: IssueReport): boolean {
    if (!pair) return true;
    const { digest } = images![0]!;
    const first = this.#first.get(digest);
    if (!first) {
      this.#first.set(digest, { row, label: pair.label });
      return true;
    }
    if (pair.label !== '' && first.label !== '' && pair.label !== first.label) {
      report.add(row, 'label_conflict', `the image of row ${first.row} under another label`);
      return false;
    }
    report.add(row, 'repeated_image', `the image of row ${first.row} with another caption`);
    return true;
  }
}
