import type { IssueReport } from './issues.ts';

/** A text of a row without blanks around it; one that is none, or broken, is reported. */
export function textOf(row: number, name: string, field: unknown, report: IssueReport): string | undefined {
  if (typeof field !== 'string') {
    report.add(row, 'missing_field', `${name} is ${field === undefined ? 'missing' : 'not a string'}`);
    return undefined;
  }
  // What a wrong encoding leaves behind once it was read as UTF-8: replacement characters and lone surrogates.
  if (field.includes('\ufffd') || !field.isWellFormed()) {
    report.add(row, 'encoding', `${name} has characters that a wrong encoding has broken`);
    return undefined;
  }
  return field.trim();
}
