import type { IssueCode, IssueReport } from '../data/issues.ts';
import type { Prepared } from './prepare.ts';
import type { Lengths, Statistics } from './statistics.ts';
import { ISSUES_FILE, type PreparationTask } from './task.ts';

/** What became of a row, by issue. */
const MEANING: Record<IssueCode, string> = {
  malformed_json: 'left out: not readable as JSON',
  encoding: 'left out: broken by a wrong encoding',
  missing_field: 'left out: a field is missing or empty',
  empty_answer: 'left out: no answer',
  duplicate: 'left out: stood before',
  near_duplicate: 'left out: nearly stood before',
  leakage: 'left out: its question is in a validation set',
  length_outlier: 'left out: unusual length',
  too_long: 'left out: too long to be a row',
  no_label: 'left out: nothing to learn',
  image_path: 'left out: a path of an image that leads nowhere',
  image_places: 'left out: places for images that are not as many as the images',
  missing_image: 'left out: an image that is not there',
  broken_image: 'left out: an image that can’t be read',
  empty_caption: 'left out: no caption',
  label_conflict: 'left out: its image stood before under another label',
  repeated_image: 'kept: its image stood before with another caption',
  cleaned: 'cleaned',
  personal_data: 'personal data masked',
};
const SHOWN_ISSUES = 200;

/** The report of a preparation, for people, in Markdown. It holds no text of any row but the labels of classes. */
export function preparationReport(
  { source, options, heldOut }: PreparationTask,
  { rowsIn, trainingRows, validationRows, before, after, masked }: Prepared,
  issues: IssueReport,
): string {
  const shown = issues.first(SHOWN_ISSUES);
  const lines = [
    `# Preparation of ${source}`,
    '',
    `${rowsIn} rows were read and ${after.rows} are kept: ${trainingRows} for training` +
      `${validationRows > 0 ? `, ${validationRows} for validation (seed ${options.seed})` : ''}.`,
    '',
    ...table(
      ['what', 'rows', 'then'],
      [...issues.counts].map(([code, count]) => [code, `${count}`, MEANING[code]]),
      'Nothing had to be changed or left out.',
    ),
    '## Personal data',
    '',
    ...(options.keepPersonalData
      ? ['It was not looked for: the preparation was told to keep it.', '']
      : table(
          ['type', 'masked'],
          [...masked].map(([type, count]) => [type, `${count}`]),
          'None was found.',
        )),
    '## Lengths in characters',
    '',
    ...table(
      ['', 'rows', 'shortest', 'median', 'mean', '95 % within', 'longest'],
      [
        lengths('question before', before, before.question),
        lengths('question after', after, after.question),
        lengths('answer before', before, before.answer),
        lengths('answer after', after, after.answer),
      ],
    ),
    '## Answers',
    '',
    `${after.distinctAnswers} different ones in ${after.rows} rows.`,
    '',
    ...(after.classes.size > 0
      ? table(
          ['class', 'before', 'after'],
          [...after.classes].map(([label, count]) => [
            cell(label),
            `${before.classes.get(label) ?? ''}`,
            `${count}`,
          ]),
        )
      : []),
    '## What was done',
    '',
    '- rows checked for form and encoding, cleaned of HTML, control characters and stray blanks, repeats left out',
    options.keepNearDuplicates
      ? '- near duplicates kept'
      : `- near duplicates left out from a Jaccard similarity of ${options.nearDuplicateThreshold}`,
    options.keepPersonalData
      ? '- personal data kept'
      : '- identity numbers, phones, bank cards and e-mail addresses masked',
    options.keepLengthOutliers
      ? '- unusual lengths kept'
      : "- lengths outside of Tukey's outer fences left out",
    ...heldOut.map(({ ref }) => `- rows whose question is, or nearly is, in ${ref} left out`),
    '',
    '## Rows',
    '',
    ...table(
      ['row', 'what', 'details'],
      shown.map(({ row, code, message }) => [`${row}`, code, message]),
      'Every row is kept as it was.',
    ),
  ];
  const total = [...issues.counts.values()].reduce((sum, count) => sum + count, 0);
  if (total > shown.length)
    lines.push(`... and ${total - shown.length} more: \`${ISSUES_FILE}\` has all.`, '');
  return `${lines.join('\n').trimEnd()}\n`;
}

function lengths(name: string, { rows }: Statistics, values: Lengths): string[] {
  const { min, median, mean, p95, max } = values;
  return [name, `${rows}`, `${min}`, `${median}`, mean.toFixed(1), `${p95}`, `${max}`];
}

/** A text that can't break out of its cell. */
function cell(text: string): string {
  return text.replace(/[\\`*_[\]<>|]/g, '\\$&').replaceAll('\n', ' ');
}

function table(head: readonly string[], rows: readonly (readonly string[])[], none = ''): string[] {
  if (rows.length === 0) return [none, ''];
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line), ''];
}
