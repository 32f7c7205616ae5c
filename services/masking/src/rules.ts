import { RE2JS } from 're2js';
import type { Span } from './mask.ts';

/** A customer's own kind of personal data. */
export interface MaskRule {
  /** Stands for it in reports and in the text: `[EMPLOYEE_ID]` for `employee_id`. */
  name: string;
  /** In RE2's dialect: time is linear in the text, whatever the expression. */
  pattern: string;
  /** Most characters of a match; what is longer is none. A stream holds back as many. */
  maxLength: number;
}

export class RuleError extends Error {}

/** Instructions of a compiled expression. */
const MOST_INSTRUCTIONS = 2000;
export const MOST_RULE_LENGTH = 256;

/** A rule that can be looked for. */
export interface CompiledRule {
  name: string;
  maxLength: number;
  find(text: string): Generator<Span>;
}

/**
 * @throws RuleError for what is no expression of linear time, matches nothing at all, or is too large
 */
export function compileRule({ name, pattern, maxLength }: MaskRule): CompiledRule {
  if (maxLength < 1 || maxLength > MOST_RULE_LENGTH)
    throw new RuleError(`max_length must be 1 to ${MOST_RULE_LENGTH}`);
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(RE2JS.translateRegExp(pattern));
  } catch (cause) {
    const why =
      cause instanceof Error ? cause.message.replace(/^error parsing regexp: /, '') : 'not readable';
    throw new RuleError(`is no regular expression of linear time: ${why.slice(0, 200)}`, { cause });
  }
  if (compiled.programSize() > MOST_INSTRUCTIONS) {
    throw new RuleError(
      `is too large: ${compiled.programSize()} steps; at most ${MOST_INSTRUCTIONS} are taken`,
    );
  }
  if (compiled.matches('')) throw new RuleError('matches the empty text');
  return {
    name,
    maxLength,
    *find(text) {
      const matcher = compiled.matcher(text);
      while (matcher.find()) {
        const [start, end] = [matcher.start(), matcher.end()];
        if (end > start && end - start <= maxLength) yield { start, end };
      }
    },
  };
}
