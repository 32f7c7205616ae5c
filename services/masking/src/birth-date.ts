import { BORN, LATIN } from './characters.ts';
import type { Facts } from './facts.ts';
import type { Span } from './mask.ts';

const MONTH = '(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\\.?';
const DATE = [
  '(?:18|19|20)\\d{2} ?年 ?\\d{1,2} ?月(?: ?\\d{1,2} ?[日号])?',
  '(?:18|19|20)\\d{2}[-/.]\\d{1,2}[-/.]\\d{1,2}(?!\\d)',
  '(?:18|19|20)\\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\\d|3[01])(?!\\d)',
  '\\d{1,2}[-/.]\\d{1,2}[-/.](?:(?:18|19|20)\\d{2}|\\d{2})(?!\\d)',
  `\\d{1,2}(?:st|nd|rd|th)?[ -](?:of )?${MONTH},?[ -](?:(?:18|19|20)\\d{2}|\\d{2})(?!\\d)`,
  `${MONTH}[ -]\\d{1,2}(?:st|nd|rd|th)?,?[ -](?:(?:18|19|20)\\d{2})(?!\\d)`,
].join('|');
/** What says before a date that someone was born on it. */
const CUE =
  '出生日期|出生年月日?|出生于|出生|生日|生于|诞生于|\\bborn|\\bbirth[ -]?date|\\bbirthday|\\bdate[ -]of[ -]birth|\\bd\\.?o\\.?b\\b\\.?';
const AFTER_CUE = new RegExp(`(?:${CUE})([^\\d\\n]{0,16}?)(?:(?<!\\d)(${DATE}))`, 'gi');
/** `1990年5月1日出生` */
const BEFORE_CUE = new RegExp(`(?<!\\d)(${DATE})(?= ?(?:出生|生(?!产|效|成|活)))`, 'gi');
const MAY_HOLD = /生|born|birth|d\.?o\.?b/i;
/** Of the shortest date. */
const MIN_DIGITS = 3;

/**
 * Dates of birth: dates that the text says someone was born on. Other dates are nobody's.
 *
 * @param text canonical
 */
export function findBirthDates(text: string, { digits, from, has }: Facts): Span[] {
  const found: Span[] = [];
  if (digits < MIN_DIGITS) return found;
  if (from === 0 && !(has & (BORN | LATIN))) return found;
  if (!MAY_HOLD.test(text)) return found;
  for (const { 0: all, 2: date, index } of text.matchAll(AFTER_CUE)) {
    const end = index + all.length;
    found.push({ start: end - date!.length, end });
  }
  for (const { 0: date, index } of text.matchAll(BEFORE_CUE))
    found.push({ start: index, end: index + date.length });
  return found;
}
