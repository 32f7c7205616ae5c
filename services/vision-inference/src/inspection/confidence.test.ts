import { create } from '@bufbuild/protobuf';
import { TokenLogprobSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { expect, test } from 'vitest';
import { between, generator, testSeed } from '../../../graph/test/random.ts';
import { answerOf, type Script, tokensOf } from '../../test/seeing.ts';
import { surface } from '../domain/built-in/surface.ts';
import { readAnswer } from './answer.ts';
import { confidenceOf } from './confidence.ts';

const random = generator(testSeed('confidence'));
const ids = surface.defectTypes.map(({ id }) => id);

function confidence(script: Script, prefix = '') {
  const tokens = tokensOf(script, () => random() < 0.4);
  const all = [...(prefix ? [{ bytes: Buffer.from(prefix) }] : []), ...tokens];
  const logprobs = all.map((token) => create(TokenLogprobSchema, token));
  return confidenceOf(script.text, readAnswer(script.text, surface), logprobs, ids);
}

test('however an answer is cut into tokens, its decisions have their probabilities', () => {
  for (let i = 0; i < 200; i++) {
    const [report, type] = [0.05 + 0.9 * random(), 0.05 + 0.9 * random()];
    const box = Array.from({ length: 4 }, () => between(random, 0, 100));
    const found = confidence({ text: answerOf(['scratch', 'slight', box]), report, type }, i % 2 ? ' ' : '');
    expect(found!.defect).toBeCloseTo(report, 9);
    // `nonsense` was likely too, and leads to no type of the catalogue: it counts for nothing.
    expect(found!.findings[0]).toBeCloseTo(report * type, 9);
    expect(confidence({ text: '{"defects":[]}', report })!.defect).toBeCloseTo(report, 9);
  }
});

test('tokens of another text tell nothing', () => {
  const script = { text: '{"defects":[]}' };
  const logprobs = tokensOf({ text: '{"defects": []}' }).map((token) => create(TokenLogprobSchema, token));
  expect(confidenceOf(script.text, readAnswer(script.text, surface), logprobs, ids)).toBeUndefined();
  expect(confidenceOf(script.text, readAnswer(script.text, surface), [], ids)).toBeUndefined();
});

test('each further defect has the probability of the comma before it', () => {
  const text = answerOf(['crack', 'slight', [1, 2, 3, 4]], ['stain', 'severe', [5, 6, 7, 8]]);
  const comma = text.indexOf('},{') + 1;
  const tokens = [text.slice(0, comma), ',', text.slice(comma + 1)].map((part) => ({
    ...{ token: part, bytes: Buffer.from(part), logprob: 0 },
  }));
  const logOf = (text: string, p: number) => ({
    token: text,
    bytes: Buffer.from(text),
    logprob: Math.log(p),
  });
  const logprobs = tokens.map((token) =>
    create(
      TokenLogprobSchema,
      token.token === ',' ? { ...logOf(',', 0.3), top: [logOf(']', 0.1), logOf(',', 0.3)] } : token,
    ),
  );
  const found = confidenceOf(text, readAnswer(text, surface), logprobs, ids);
  expect(found!.findings[1]).toBeCloseTo(0.75, 9);
  expect(found!.findings[0]).toBe(1);
});
