import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  LengthScore_Unit as LengthUnit,
  ScoreFunctionSchema,
} from '@landfall/proto/landfall/prompt/v1/score_function_pb.js';
import { describe, expect, test } from 'vitest';
import { checkScoreFunction, codeScore, needsExpected, scoreNameOf } from './score-functions.ts';

type Kind = NonNullable<MessageInitShape<typeof ScoreFunctionSchema>['kind']>;
const of = (kind: Kind, name = '') => create(ScoreFunctionSchema, { name, kind });
const value = (kind: Kind, output: string, expected: string[] = []) =>
  codeScore(of(kind), output, expected).value;

describe('exact match', () => {
  const plain = { case: 'exactMatch', value: {} } as const;
  test.each([
    ['正面', '正面', 1],
    ['  正面。\n', '正面', 1],
    ['Ｙｅｓ', 'yes', 1],
    ['a  b', 'a b', 1],
    ['a b', 'ab', 0],
    ['', '正面', 0],
    ['非正面', '正面', 0],
  ])('%j against %j is %d', (output, expected, wanted) => {
    expect(value(plain, output, [expected])).toBe(wanted);
  });
  test('case and punctuation count where asked; any of several answers is right', () => {
    expect(value({ case: 'exactMatch', value: { caseSensitive: true } }, 'Yes', ['yes'])).toBe(0);
    expect(value({ case: 'exactMatch', value: { withPunctuation: true } }, 'yes!', ['yes'])).toBe(0);
    expect(value(plain, 'b', ['a', 'b'])).toBe(1);
  });
});

test('the share of the texts that an answer holds, and which it lacks', () => {
  const kind: Kind = { case: 'contains', value: { texts: ['盐', 'Salt', '油'] } };
  expect(codeScore(of(kind), '少ＳＡＬＴ少盐', [])).toEqual({
    name: 'contains',
    value: 2 / 3,
    reason: "lacks '油'",
  });
  expect(value({ case: 'contains', value: {} }, '答案是负面', ['负面'])).toBe(1);
});

test('n-gram scores are those of sacrebleu, against the best of the expected answers', () => {
  const bleu = { case: 'bleu', value: { tokenize: '13a' } } as const;
  // sacrebleu.sentence_bleu('the cat sat on a mat', ['the cat sat on the mat']) of sacrebleu 2.6.
  const near = 'the cat sat on the mat';
  expect(value(bleu, 'the cat sat on a mat', [near])).toBeCloseTo(53.7285, 4);
  expect(value(bleu, near, ['dogs bark', near])).toBeCloseTo(100, 8);
  expect(value({ case: 'chrf', value: {} }, near, [near])).toBeCloseTo(100, 8);
  expect(value({ case: 'rougeL', value: {} }, '今天天气好', ['今天天气很好'])).toBeCloseTo(10 / 11, 8);
});

test('length by characters and by words, with what was wanted', () => {
  const short = { case: 'length', value: { minimum: 2, maximum: 4 } } as const;
  expect(['𠮷', '𠮷野', '一二三四', '一二三四五'].map((text) => value(short, text))).toEqual([0, 1, 1, 0]);
  expect(codeScore(of(short), '一二三四五', []).reason).toBe('has 5 characters; at most 4 are wanted');
  const words = { case: 'length', value: { minimum: 3, unit: LengthUnit.WORDS } } as const;
  expect(value(words, 'blood 血压')).toBe(1);
});

test('forbidden words: alone where they are of an alphabet, anywhere in Chinese', () => {
  const kind: Kind = { case: 'forbiddenWords', value: { words: ['ass', '保证 ', 'C++'] } };
  for (const clean of ['a class act', 'assess', '好', '']) expect(value(kind, clean)).toBe(1);
  for (const bad of ['what an ASS!', '我们保证治愈', 'ａｓｓ', 'in c++11', 'class ass']) {
    expect(value(kind, bad)).toBe(0);
  }
  expect(codeScore(of(kind), '保证, ass', []).reason).toBe("has 'ass', '保证 '");
});

test('a long answer of one letter against many words is done in time', () => {
  const words = Array.from({ length: 256 }, (_, i) => 'a'.repeat(1 + (i % 128)));
  expect(value({ case: 'forbiddenWords', value: { words } }, 'a'.repeat(200_000))).toBe(1);
});

test('expressions of linear time and schemas; what is wrong with them is named before they run', () => {
  expect(value({ case: 'regex', value: { pattern: '正面|负面' } }, ' 负面\n')).toBe(1);
  expect(value({ case: 'regex', value: { pattern: '正面|负面' } }, '是负面')).toBe(0);
  expect(value({ case: 'regex', value: { pattern: '负面', anywhere: true } }, '是负面')).toBe(1);
  const schema = '{"type":"object","properties":{"label":{"enum":["a","b"]}},"required":["label"]}';
  const fits: Kind = { case: 'jsonSchema', value: { schema } };
  expect(value(fits, '```json\n{"label":"a"}\n```')).toBe(1);
  for (const wrong of ['{"label":"c"}', '{}', 'a', '']) {
    const score = codeScore(of(fits), wrong, []);
    expect(score.value).toBe(0);
    expect(score.reason).not.toBe('');
  }
  const refused: [Kind, RegExp][] = [
    [{ case: 'regex', value: { pattern: '(a+)+b' } }, /f.regex.pattern/],
    [{ case: 'regex', value: { pattern: '(?=a)' } }, /f.regex.pattern/],
    [{ case: 'jsonSchema', value: { schema: '{"$ref":"#"}' } }, /f.json_schema/],
  ];
  for (const [kind, message] of refused) expect(() => checkScoreFunction(of(kind), 'f')).toThrow(message);
});

test('what compares asks for an expected answer, and bounds that nothing fits are refused', () => {
  expect(() => codeScore(of({ case: 'bleu', value: {} }), 'x', [])).toThrow(
    expect.objectContaining({ fieldViolations: [expect.objectContaining({ field: 'expected' })] }),
  );
  expect(needsExpected(of({ case: 'contains', value: { texts: ['a'] } }))).toBe(false);
  expect(() => checkScoreFunction(of({ case: 'length', value: { minimum: 5, maximum: 4 } }), 'f')).toThrow(
    /f.length.maximum/,
  );
  expect(scoreNameOf(of({ case: 'rougeL', value: {} }))).toBe('rouge_l');
  expect(scoreNameOf(of({ case: 'rougeL', value: {} }, 'style'))).toBe('style');
});
