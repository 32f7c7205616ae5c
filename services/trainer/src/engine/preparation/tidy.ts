import { mask, type PersonalDataType } from '@landfall/masking/mask.ts';
import { type Example, IMAGE_PLACE } from '../data/example.ts';
import type { IssueReport } from '../data/issues.ts';
import type { Turn } from '../data/tokenizer.ts';
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
  const changed = changeTexts(example, example.images && !example.pair ? aroundPlaces(change) : change);
  if (changed.pair) {
    if (changed.answer !== '') return { example: changed, removed: [...removed], masked };
    report.add(example.row, 'empty_caption', 'caption is empty once cleaned');
    return undefined;
  }
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

/** What a row asks: its question, or its conversation up to the answer, without what the system is told; and what it shows. */
export function askedOf(example: Example): string {
  const turns = example.messages?.slice(0, -1).filter(({ role }) => role !== 'system');
  return together(example, turns);
}

/** All that comes before a row's answer. */
export function contextOf(example: Example): string {
  return together(example, example.messages?.slice(0, -1));
}

/** Texts and, by their digests, images: rows that ask the same of other images are not alike. */
function together({ question, images = [] }: Example, turns: Turn[] | undefined): string {
  const texts = turns?.map(({ content }) => content) ?? [question];
  return [...texts, ...images.map(({ digest }) => digest)].join('\n');
}

/** The places of images are no tags to be cleaned away, and blanks beside them are none at an end. */
const aroundPlaces = (change: (text: string) => string) => (text: string) =>
  text
    .split(IMAGE_PLACE)
    .map((part) => {
      const begin = part.length - part.trimStart().length;
      const end = Math.max(begin, part.trimEnd().length);
      return part.slice(0, begin) + change(part.slice(begin, end)) + part.slice(end);
    })
    .join(IMAGE_PLACE);

function changeTexts(example: Example, change: (text: string) => string): Example {
  if (example.pair) {
    const pair = { label: change(example.pair.label) };
    return { ...example, answer: change(example.answer), pair };
  }
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
