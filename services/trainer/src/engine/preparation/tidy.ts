import { mask, type PersonalDataType } from '@landfall/masking/mask.ts';
import type { Example } from '../data/example.ts';
import type { IssueReport } from '../data/issues.ts';
import { clean } from './clean.ts';

/** Addresses of machines stay: they are what technical texts are about. */
const MASKED_TYPES: readonly PersonalDataType[] = ['id_number', 'phone', 'card', 'email'];

/** A row as it is kept, and what was done to it. */
export interface Tidied {
  example: Example;
  /** What was taken out. */
  removed: string[];
  /** Personal data that was masked, a type as often as it stood there. */
  masked: PersonalDataType[];
}

/** A text with its personal data masked. */
export function maskText(text: string): { text: string; types: PersonalDataType[] } {
  const { text: masked, found } = mask(text, { types: MASKED_TYPES });
  return { text: masked, types: found.map(({ type }) => type) };
}

/** Cleans and masks a row; one of which nothing is left is reported. */
export function tidy(example: Example, keepPersonalData: boolean, report: IssueReport): Tidied | undefined {
  const removed = new Set<string>();
  const masked: PersonalDataType[] = [];
  const change = (text: string) => {
    const cleaned = clean(text);
    for (const name of cleaned.removed) removed.add(name);
    if (keepPersonalData) return cleaned.text;
    const { text: result, types } = maskText(cleaned.text);
    masked.push(...types);
    return result;
  };
  const changed = changeTexts(example, change);
  if (changed.answer === '') {
    report.add(example.row, 'empty_answer', 'answer is empty once cleaned');
    return undefined;
  }
  if (changed.question === '') {
    report.add(example.row, 'missing_field', 'question is empty once cleaned');
    return undefined;
  }
  return { example: changed, removed: [...removed], masked };
}

/** Says what was done to a row. */
export function reportChanges({ example: { row }, removed, masked }: Tidied, report: IssueReport): void {
  if (removed.length > 0) report.add(row, 'cleaned', removed.join(', '));
  if (masked.length > 0) report.add(row, 'personal_data', `masked: ${counted(masked)}`);
}

/** What a row asks: its question, or its conversation up to the answer, without what the system is told. */
export function askedOf({ question, messages }: Example): string {
  if (!messages) return question;
  return messages
    .slice(0, -1)
    .filter(({ role }) => role !== 'system')
    .map(({ content }) => content)
    .join('\n');
}

/** All that comes before a row's answer. */
export function contextOf({ question, messages }: Example): string {
  if (!messages) return question;
  return messages
    .slice(0, -1)
    .map(({ content }) => content)
    .join('\n');
}

function changeTexts(example: Example, change: (text: string) => string): Example {
  if (!example.messages) {
    return { ...example, question: change(example.question), answer: change(example.answer) };
  }
  const messages = example.messages.map(({ role, content }) => ({ role, content: change(content) }));
  const question = messages.findLast(({ role }) => role === 'user')!.content;
  return { ...example, messages, question, answer: messages.at(-1)!.content };
}

/** `2 phone, 1 email` */
function counted(types: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const type of types) counts.set(type, (counts.get(type) ?? 0) + 1);
  return [...counts].map(([type, count]) => `${count} ${type}`).join(', ');
}
