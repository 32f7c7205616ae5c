import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { RE2JS } from 're2js';

/** Instructions of a compiled expression. */
const MOST_INSTRUCTIONS = 2_000;
/** Instructions times characters of one match: about half a second at the worst. */
const MOST_WORK = 20_000_000;
/**
 * `(a+)+`: one endless repetition says all that two in one another do. It would cost no time here, but other engines
 * that see the expression (a served model's, a reader's) may not be of this kind.
 */
const NESTED =
  /\((?:\?:|\?<\w{1,64}>)?(?:\\.|\[[^\]]{0,200}\]|[^\\()[\]])(?:[+*]|\{\d+,\})\??\)(?:[+*]|\{\d+,\})/;

/** A regular expression in RE2's dialect: time is linear in the text, whatever the expression. */
export interface LinearRegex {
  /** Instructions: what a character of text may cost. */
  readonly size: number;
  /** Whether the whole text matches; undefined where the text is too long for this expression. */
  matches(text: string): boolean | undefined;
  /** Whether a part of the text matches; undefined where the text is too long for this expression. */
  finds(text: string): boolean | undefined;
}

const known = new Map<string, LinearRegex>();
const MOST_KEPT = 256;

/**
 * @param field for the error
 * @throws LandfallError INVALID_ARGUMENT for what is no such expression, or is too large
 */
export function linearRegex(pattern: string, field: string): LinearRegex {
  const kept = known.get(pattern);
  if (kept) return kept;
  if (NESTED.test(pattern)) {
    throw invalidArgument(field, 'an endless repetition of an endless repetition is not taken; write one');
  }
  const compiled = compile(pattern, field);
  const size = compiled.programSize();
  if (size > MOST_INSTRUCTIONS) {
    throw invalidArgument(
      field,
      `is too large: ${size} steps, counting repetitions; at most ${MOST_INSTRUCTIONS} are taken`,
    );
  }
  const bounded = (text: string, test: (text: string) => boolean) =>
    size * text.length > MOST_WORK ? undefined : test(text);
  const regex: LinearRegex = {
    size,
    matches: (text) => bounded(text, (whole) => compiled.matches(whole)),
    finds: (text) => bounded(text, (whole) => compiled.test(whole)),
  };
  if (known.size >= MOST_KEPT) known.delete(known.keys().next().value!);
  known.set(pattern, regex);
  return regex;
}

function compile(pattern: string, field: string): RE2JS {
  try {
    return RE2JS.compile(RE2JS.translateRegExp(pattern));
  } catch (cause) {
    const why =
      cause instanceof Error ? cause.message.replace(/^error parsing regexp: /, '') : 'not readable';
    throw invalidArgument(field, `is no regular expression of linear time: ${why.slice(0, 200)}`, { cause });
  }
}
