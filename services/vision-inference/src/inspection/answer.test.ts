import { create } from '@bufbuild/protobuf';
import { Severity } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import { type ProfileSpec, ProfileSpecSchema } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { Ajv } from 'ajv';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { testSeed } from '../../../graph/test/random.ts';
import { compileConstraint } from '../../../text-inference/src/engine/grammar/compile.ts';
import { builtInProfiles } from '../domain/built-in/profiles.ts';
import { scanReport } from '../domain/built-in/scan-report.ts';
import { surface } from '../domain/built-in/surface.ts';
import { checkSpec } from '../domain/check-profile.ts';
import { AnswerError, readAnswer } from './answer.ts';
import { type Located, locate } from './located-json.ts';
import { questionOf } from './question.ts';

const seed = testSeed('answers');

test('the place of every value of a JSON text is where it stands', () => {
  const plain = ({ value }: Located): unknown =>
    value instanceof Map
      ? Object.fromEntries([...value].map(([name, each]) => [name, plain(each)]))
      : Array.isArray(value)
        ? value.map(plain)
        : value;
  fc.assert(
    fc.property(fc.json({ maxDepth: 3, noUnicodeString: false }), fc.boolean(), (json, spaced) => {
      const text = spaced ? JSON.stringify(JSON.parse(json), null, 2) : json;
      const check = (each: Located): void => {
        expect(JSON.parse(text.slice(each.start, each.end))).toEqual(JSON.parse(JSON.stringify(plain(each))));
        if (each.value instanceof Map) for (const member of each.value.values()) check(member);
        else if (Array.isArray(each.value)) each.value.forEach(check);
      };
      check(locate(text));
    }),
    { seed, numRuns: 300 },
  );
});

test('what the schema allows is read, with boxes upright, within the image and never empty', () => {
  const validate = new Ajv().compile(JSON.parse(questionOf(surface).schema));
  const edge = fc.integer({ min: 0, max: 100 });
  const defect = fc.record({
    type: fc.constantFrom(...surface.defectTypes.map(({ id }) => id)),
    severity: fc.constantFrom('slight', 'moderate', 'severe'),
    box: fc.tuple(edge, edge, edge, edge),
  });
  fc.assert(
    fc.property(fc.array(defect, { maxLength: 8 }), (defects) => {
      expect(validate({ defects })).toBe(true);
      const { findings } = readAnswer(JSON.stringify({ defects }), surface);
      expect(findings.map(({ type }) => type)).toEqual(defects.map(({ type }) => type));
      for (const {
        box: [x0, y0, x1, y1],
      } of findings) {
        expect(0 <= x0 && x0 < x1 && x1 <= 1 && 0 <= y0 && y0 < y1 && y1 <= 1).toBe(true);
      }
    }),
    { seed, numRuns: 200 },
  );
});

test.each([
  ['no JSON', 'a scratch'],
  ['another shape', '[]'],
  ['no list', '{"defects":{}}'],
  ['an unknown type', '{"defects":[{"type":"hole","severity":"slight","box":[1,2,3,4]}]}'],
  ['an unknown severity', '{"defects":[{"type":"crack","severity":"bad","box":[1,2,3,4]}]}'],
  ['three edges', '{"defects":[{"type":"crack","severity":"slight","box":[1,2,3]}]}'],
  ['edges in words', '{"defects":[{"type":"crack","severity":"slight","box":[1,2,3,"4"]}]}'],
  ['a member of every object', '{"defects":[{"__proto__":{},"severity":"slight","box":[1,2,3,4]}]}'],
  ['a lack', '{}'],
])('%s is no answer', (_, text) => {
  expect(() => readAnswer(text, surface)).toThrow(AnswerError);
});

test('parts in words are read by their sections', () => {
  const text = JSON.stringify({
    findings: ['双肺纹理清晰', ' 心影不大 '],
    impression: ['未见异常'],
    recommendation: ['随访'],
  });
  expect(Object.fromEntries(readAnswer(text, scanReport).sections)).toEqual({
    findings: ['双肺纹理清晰', '心影不大'],
    impression: ['未见异常'],
    recommendation: ['随访'],
  });
  expect(() => readAnswer('{"findings":[],"impression":"x","recommendation":[""]}', scanReport)).toThrow(
    AnswerError,
  );
});

test('the largest answer that a profile may ask for, and that of every built-in one, can be held to by a replica', () => {
  const spec = (ids: number, most: number, lines: number) =>
    create(ProfileSpecSchema, {
      ...{ language: 'en', maxDefects: most, boxScale: 10_000, modelWritesText: true },
      defectTypes: Array.from({ length: ids }, (_, i) => ({ id: `${'x'.repeat(60)}-${i}`, name: 'x' })),
      sections: Array.from({ length: 16 }, (_, i) => ({ id: `s${i}`, title: 'x', maxLines: lines })),
    });
  const passes = (ids: number, most: number, lines: number) => {
    try {
      checkSpec(spec(ids, most, lines));
      return true;
    } catch {
      return false;
    }
  };
  const largest: ProfileSpec[] = [];
  for (const lines of [1, 16, 32]) {
    for (const most of [1, 16, 32]) {
      let ids = 64;
      while (!passes(ids, most, lines)) ids--;
      largest.push(spec(ids, most, lines));
    }
  }
  expect(passes(64, 32, 1)).toBe(false);
  for (const each of [...largest, ...Object.values(builtInProfiles)]) {
    expect(() => compileConstraint({ kind: 'jsonSchema', schema: questionOf(each).schema })).not.toThrow();
  }
});

test('a severity that a finding has is that of the answer', () => {
  const text = '{"defects":[{"type":"crack","severity":"severe","box":[1,2,3,4]}]}';
  expect(readAnswer(text, surface).findings[0]!.severity).toBe(Severity.SEVERE);
});
