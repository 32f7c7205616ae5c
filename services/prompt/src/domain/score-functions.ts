import { create } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { sentenceBleu } from '@landfall/metrics/bleu.ts';
import { sentenceChrf } from '@landfall/metrics/chrf.ts';
import { rougeL, unitsOf } from '@landfall/metrics/rouge.ts';
import type { TokenizerName } from '@landfall/metrics/tokenizers.ts';
import {
  type OutputContract,
  OutputContractSchema,
} from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import {
  type ContainsScore,
  type ExactMatchScore,
  type ForbiddenWordsScore,
  type JsonSchemaScore,
  type LengthScore,
  LengthScore_Unit as LengthUnit,
  type RegexScore,
  type ScoreFunction,
} from '@landfall/proto/landfall/prompt/v1/score_function_pb.js';
import { linearRegex } from './linear-regex.ts';
import { checkContract, checkOutput } from './output-contract.ts';

/** What a function gives. */
export interface CodeScore {
  name: string;
  value: number;
  /** What speaks against the answer, for people; empty where nothing does. */
  reason: string;
}

/** Longer texts are scored up to here, in UTF-16 units: n-grams and subsequences cost more than a pass. */
const LONGEST = 65_536;
const NAMES = {
  exactMatch: 'exact_match',
  contains: 'contains',
  bleu: 'bleu',
  chrf: 'chrf',
  rougeL: 'rouge_l',
  regex: 'regex',
  jsonSchema: 'json_schema',
  length: 'length',
  forbiddenWords: 'forbidden_words',
} as const;

/** Name of the score that a function gives. */
export function scoreNameOf({ name, kind }: ScoreFunction): string {
  return name || (kind.case ? NAMES[kind.case] : '');
}

/** Whether a function compares with expected answers. */
export function needsExpected({ kind }: ScoreFunction): boolean {
  switch (kind.case) {
    case 'contains':
      return kind.value.texts.length === 0;
    case 'exactMatch':
    case 'bleu':
    case 'chrf':
    case 'rougeL':
      return true;
    default:
      return false;
  }
}

/**
 * Whether a function can be run at all.
 * @param field where it stands in the request
 * @throws LandfallError INVALID_ARGUMENT naming the field under `field`
 */
export function checkScoreFunction({ kind }: ScoreFunction, field: string): void {
  if (kind.case === 'regex') linearRegex(kind.value.pattern, `${field}.regex.pattern`);
  if (kind.case === 'jsonSchema') checkContract(schemaContract(kind.value), `${field}.json_schema`);
  if (kind.case === 'length') {
    const { minimum, maximum } = kind.value;
    if (minimum === 0 && maximum === 0)
      throw invalidArgument(`${field}.length`, 'needs a minimum or a maximum');
    if (maximum !== 0 && maximum < minimum) {
      throw invalidArgument(`${field}.length.maximum`, `must not be below the minimum of ${minimum}`);
    }
  }
}

/**
 * Scores an answer. Pure and bounded in time.
 *
 * @param expected answers that would be right; functions that compare need at least one
 * @throws LandfallError INVALID_ARGUMENT where a function that compares is given no expected answer
 */
export function codeScore(score: ScoreFunction, output: string, expected: readonly string[]): CodeScore {
  const name = scoreNameOf(score);
  if (needsExpected(score) && expected.length === 0) {
    throw invalidArgument(
      'expected',
      `the score '${name}' compares with an expected answer, and there is none`,
    );
  }
  return { name, ...measure(score.kind, output, expected) };
}

type Measured = Omit<CodeScore, 'name'>;

function measure(kind: ScoreFunction['kind'], output: string, expected: readonly string[]): Measured {
  const best = (one: (reference: string) => number) => Math.max(...expected.map(one));
  const cut = output.slice(0, LONGEST);
  switch (kind.case) {
    case 'exactMatch':
      return exactMatch(kind.value, output, expected);
    case 'contains':
      return contains(kind.value, output, expected);
    case 'bleu': {
      const tokenize = (kind.value.tokenize || 'zh') as TokenizerName;
      return {
        value: best((one) => sentenceBleu(cut, [one.slice(0, LONGEST)], { tokenize }).score),
        reason: '',
      };
    }
    case 'chrf': {
      const { wordOrder } = kind.value;
      return { value: best((one) => sentenceChrf(cut, [one.slice(0, LONGEST)], { wordOrder })), reason: '' };
    }
    case 'rougeL':
      return { value: best((one) => rougeL(cut, one.slice(0, LONGEST))), reason: '' };
    case 'regex':
      return regex(kind.value, output);
    case 'jsonSchema':
      return verdict(checkOutput(schemaContract(kind.value), output).problems.join('; '));
    case 'length':
      return length(kind.value, output);
    case 'forbiddenWords':
      return forbiddenWords(kind.value, output);
    default:
      throw new Error('a score function without a kind passes no validation');
  }
}

const verdict = (reason: string): Measured => ({ value: reason === '' ? 1 : 0, reason });

function exactMatch(options: ExactMatchScore, output: string, expected: readonly string[]): Measured {
  const form = (text: string) => {
    const bare = options.withPunctuation
      ? text.normalize('NFKC')
      : text.normalize('NFKC').replace(/\p{P}/gu, '');
    const spaced = bare.replace(/\s+/g, ' ').trim();
    return options.caseSensitive ? spaced : spaced.toLowerCase();
  };
  const answer = form(output);
  return verdict(expected.some((one) => form(one) === answer) ? '' : 'is not the expected answer');
}

function contains(
  { texts, caseSensitive }: ContainsScore,
  output: string,
  expected: readonly string[],
): Measured {
  const form = (text: string) => {
    const same = text.normalize('NFKC');
    return caseSensitive ? same : same.toLowerCase();
  };
  const wanted = texts.length > 0 ? texts : expected;
  const answer = form(output);
  const missing = wanted.filter((text) => !answer.includes(form(text)));
  const reason = missing.length > 0 ? `lacks ${quoted(missing)}` : '';
  return { value: (wanted.length - missing.length) / wanted.length, reason };
}

/** Checked as answers of an output contract are: alone or in one fenced block. */
const schemaContract = ({ schema }: JsonSchemaScore): OutputContract =>
  create(OutputContractSchema, { kind: { case: 'jsonSchema', value: schema } });

function regex({ pattern, anywhere }: RegexScore, output: string): Measured {
  const expression = linearRegex(pattern, 'regex.pattern');
  const matches = anywhere ? expression.finds(output) : expression.matches(output.trim());
  if (matches === undefined) return verdict('is too long for the expression');
  return verdict(matches ? '' : `does not match ${pattern.slice(0, 200)}`);
}

function length({ minimum, maximum, unit }: LengthScore, output: string): Measured {
  const words = unit === LengthUnit.WORDS;
  const count = words ? unitsOf(output).length : [...output].length;
  if (count >= minimum && (maximum === 0 || count <= maximum)) return verdict('');
  const wanted = count < minimum ? `at least ${minimum}` : `at most ${maximum}`;
  return verdict(`has ${count} ${words ? 'words' : 'characters'}; ${wanted} are wanted`);
}

const ALPHABETIC = /(?![\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}])[\p{L}\p{N}]/u;

/** Which characters are letters or digits of alphabets: where two of them meet, a word goes on. */
const alphabetic = (text: string) => Uint8Array.from(text.split(''), (unit) => Number(ALPHABETIC.test(unit)));

function forbiddenWords({ words }: ForbiddenWordsScore, output: string): Measured {
  const form = (text: string) => text.normalize('NFKC').toLowerCase();
  const answer = form(output);
  const inAnswer = alphabetic(answer);
  const found = words.filter((one) => standsIn(answer, inAnswer, form(one).trim()));
  return verdict(found.length > 0 ? `has ${quoted(found)}` : '');
}

/** Whether a word is somewhere in the answer with no letter of its alphabet before or behind it. */
function standsIn(answer: string, inAnswer: Uint8Array, word: string): boolean {
  const inWord = alphabetic(word);
  let at = answer.indexOf(word);
  while (at >= 0) {
    const begins = !(inWord[0] && inAnswer[at - 1]);
    if (begins && !(inWord.at(-1) && inAnswer[at + word.length])) return true;
    let next = at + 1;
    // In the middle of another word it can't begin before that one ends.
    if (inWord[0]) while (inAnswer[next - 1]) next++;
    at = answer.indexOf(word, next);
  }
  return false;
}

const quoted = (texts: readonly string[]) =>
  texts
    .slice(0, 10)
    .map((text) => `'${text.slice(0, 64)}'`)
    .join(', ');
