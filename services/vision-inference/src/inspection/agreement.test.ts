import { create } from '@bufbuild/protobuf';
import { Severity } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import { ProfileSpecSchema } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { testSeed } from '../../../graph/test/random.ts';
import { agreement, listOf, type Named } from './agreement.ts';

const { SLIGHT, MODERATE, SEVERE } = Severity;
const spec = create(ProfileSpecSchema, { boxScale: 100, maxDefects: 3 });
const seed = testSeed('agreement');

const named = (type: string, severity: Severity, edges: number[], confidence: number): Named => ({
  ...{ type, severity, confidence },
  box: edges.map((edge) => edge / 100) as unknown as Named['box'],
});

test('what both looks name is one defect: the surer one says what, the mean how sure, both where', () => {
  const looks = [
    [named('crack', SLIGHT, [10, 10, 30, 30], 0.9), named('stain', SEVERE, [60, 60, 90, 90], 0.4)],
    [named('scratch', MODERATE, [12, 14, 32, 36], 0.7)],
  ];
  expect(agreement(looks, spec, 0)).toEqual([
    { type: 'crack', severity: SLIGHT, box: [0.11, 0.12, 0.31, 0.33], confidence: 0.8 },
    { type: 'stain', severity: SEVERE, box: [0.6, 0.6, 0.9, 0.9], confidence: 0.2 },
  ]);
  expect(agreement(looks, spec, 0.35).map(({ type }) => type)).toEqual(['crack']);
});

test('three looks outvote the one that is surest; two defects side by side stay two', () => {
  const looks = [
    [named('crack', SLIGHT, [10, 10, 30, 30], 0.9), named('crack', SLIGHT, [25, 10, 45, 30], 0.8)],
    [named('scratch', SEVERE, [10, 10, 30, 30], 0.6), named('crack', SLIGHT, [25, 10, 45, 30], 0.8)],
    [named('scratch', SEVERE, [10, 10, 30, 30], 0.6)],
  ];
  expect(agreement(looks, spec, 0.5).map(({ type, severity }) => [type, severity])).toEqual([
    ['scratch', SEVERE],
    ['crack', SLIGHT],
  ]);
});

test('as many as an answer may name, the surest, in reading order', () => {
  const look = [0.5, 0.9, 0.7, 0.8].map((confidence, i) =>
    named('crack', SLIGHT, [20 * i, 90 - 20 * i, 20 * i + 10, 100 - 20 * i], confidence),
  );
  expect(agreement([look], spec, 0).map(({ confidence }) => confidence)).toEqual([0.8, 0.7, 0.9]);
});

const edges = fc
  .tuple(fc.nat(99), fc.nat(99), fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 100 }))
  .map(([x, y, w, h]) => [x, y, Math.min(100, x + w), Math.min(100, y + h)]);
const defect = fc
  .tuple(
    fc.constantFrom('crack', 'stain'),
    fc.constantFrom(SLIGHT, SEVERE),
    edges,
    fc.double({ min: 0, max: 1, noNaN: true }),
  )
  .map((parts) => named(...parts));

const texts = (all: readonly Named[]) =>
  all.map(({ type, severity, box, confidence }) => [type, severity, box, confidence].join(' ')).sort();

test('one look says what it says, and no number of looks names what an answer could not hold', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(defect, { maxLength: 5 }), { minLength: 1, maxLength: 4 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (looks, least) => {
        const agreed = agreement(looks, spec, least);
        expect(agreed.length).toBeLessThanOrEqual(3);
        for (const { box, confidence } of agreed) {
          expect(confidence).toBeGreaterThanOrEqual(least);
          expect(confidence).toBeLessThanOrEqual(1);
          expect(box[0] < box[2] && box[1] < box[3] && Math.min(...box) >= 0 && Math.max(...box) <= 1).toBe(
            true,
          );
        }
        for (const { box } of JSON.parse(listOf(agreed, spec)))
          expect(box.every(Number.isInteger)).toBe(true);
        const first = looks[0]!.filter(({ confidence }) => confidence >= least);
        if (first.length <= 3) expect(texts(agreement([looks[0]!], spec, least))).toEqual(texts(first));
      },
    ),
    { seed, numRuns: 500 },
  );
});
