import { expect, test } from 'vitest';
import { generator, testSeed } from '../../../graph/test/random.ts';
import { logitCurve } from './apply.ts';
import { type Claim, calibrationError, curveOf, type Fit, fitIsotonic, fitNothing, logLoss } from './fit.ts';
import { fitPlatt, fitTemperature } from './fit-logits.ts';
import { chooseFit, judgedFit, truthOf } from './judge-fit.ts';

const random = generator(testSeed('calibration'));

/** Claims whose log-odds are as wrong as it takes for a temperature and an offset to make them true. */
const claims = (count: number, { temperature = 1, offset = 0 }): Claim[] =>
  Array.from({ length: count }, (_, i) => {
    const truth = 0.02 + 0.96 * random();
    const raw = logitCurve(1 / temperature, -offset * temperature)(truth);
    return { raw, right: random() < truth, weight: 1, review: String(i) };
  });

/** Of a model that is surer than it is right. */
const overconfident = (count: number) => claims(count, { temperature: 3 });

test('the temperature of an overconfident model is found', () => {
  const fit = fitTemperature(overconfident(4000));
  expect('temperature' in fit && fit.temperature).toBeGreaterThan(2.5);
  expect('temperature' in fit && fit.temperature).toBeLessThan(3.6);
});

test('temperature and offset of a model that is too sure, and too ready to see defects, are found', () => {
  const fit = fitPlatt(claims(6000, { temperature: 2, offset: -1 }));
  expect('offset' in fit && Math.abs(fit.temperature - 2)).toBeLessThan(0.4);
  expect('offset' in fit && Math.abs(fit.offset + 1)).toBeLessThan(0.2);
});

test.each([
  ['temperature', fitTemperature],
  ['isotonic', fitIsotonic],
  ['Platt', fitPlatt],
])('%s makes confidences true on claims that it had not seen', (_, fit) => {
  const seen = overconfident(4000);
  expect(calibrationError(seen)).toBeGreaterThan(0.1);
  const { after } = judgedFit(seen, fit);
  expect(after.error).toBeLessThan(0.05);
  expect(after.logLoss).toBeLessThan(truthOf(seen).logLoss);
  expect(calibrationError(overconfident(4000), curveOf(fit(seen)))).toBeLessThan(0.05);
});

test('the simplest is chosen that does as well, and nothing where nothing helps', () => {
  const methods = [fitNothing, fitTemperature, fitPlatt, fitIsotonic];
  // Now and then chance makes more of a curve look better: of five sets most choose as they should.
  const mostly = (make: () => Claim[], isRight: (fit: Fit) => boolean) => {
    const right = Array.from({ length: 5 }, () => isRight(chooseFit(make(), methods).fit));
    expect(right.filter(Boolean).length).toBeGreaterThanOrEqual(3);
  };
  const isNothing = (fit: Fit) => 'temperature' in fit && fit.temperature === 1 && fit.offset === 0;
  mostly(() => claims(1000, {}), isNothing);
  mostly(
    () => overconfident(1000),
    (fit) => 'temperature' in fit && fit.temperature > 2 && fit.offset === 0,
  );
  mostly(
    () => claims(2000, { temperature: 1, offset: -1.5 }),
    (fit) => 'offset' in fit && fit.offset < -1,
  );
  // A step is no curve of log-odds.
  const stepped = () =>
    claims(2000, {}).map((claim) => ({ ...claim, right: random() < (claim.raw < 0.8 ? 0.2 : 0.6) }));
  mostly(stepped, (fit) => 'points' in fit);
});

test.each([
  ['temperature', fitTemperature],
  ['isotonic', fitIsotonic],
  ['Platt', fitPlatt],
])('%s leaves a model that is sure and right as sure as its reviews allow', (_, fit) => {
  const right = Array.from({ length: 60 }, (_, i) => i % 2 === 0);
  const sure = right.map((right, i) => ({
    ...{ raw: right ? 0.99 - i * 1e-5 : 0.01 + i * 1e-5, right, weight: 1, review: String(i) },
  }));
  const curve = curveOf(fit(sure));
  for (const [i, { raw }] of sure.entries()) {
    const p = right[i] ? curve(raw) : 1 - curve(raw);
    // Thirty of thirty: not one of two, and not certainty.
    expect(p).toBeGreaterThan(0.95);
    expect(p).toBeLessThan(0.9999);
  }
});

test('claims of one review are never on both sides of a fit', () => {
  const those = Array.from({ length: 100 }, (_, i) =>
    Array.from({ length: 4 }, () => ({ raw: random(), right: random() < 0.5, weight: 1, review: String(i) })),
  ).flat();
  const parts: number[][] = [];
  judgedFit(those, (part) => {
    const counts = new Map<string, number>();
    for (const { review } of part) counts.set(review, (counts.get(review) ?? 0) + 1);
    parts.push([...counts.values()]);
    return fitIsotonic(part);
  });
  expect(parts.flat().every((count) => count === 4)).toBe(true);
  // Fitted to all in the end, and before that to what others are held against.
  expect(Math.max(...parts.map((part) => part.length))).toBe(100);
  expect(parts.filter((part) => part.length < 100).length).toBeGreaterThan(1);
});

test('curves never fall, and stay between 0 and 1, whatever the claims', () => {
  for (let i = 0; i < 200; i++) {
    const few = Array.from({ length: 1 + Math.floor(random() * 30) }, (_, i) => ({
      raw: random() < 0.3 ? Math.round(random() * 3) / 3 : random(),
      right: random() < 0.5,
      weight: random() < 0.5 ? 1 : 1 + random() * 50,
      review: String(i),
    }));
    for (const fit of [fitTemperature, fitIsotonic, fitPlatt]) {
      const curve = curveOf(fit(few));
      const values = Array.from({ length: 101 }, (_, step) => curve(step / 100));
      for (const [step, value] of values.entries()) {
        expect(value).toBeGreaterThan(0);
        expect(value).toBeLessThan(1);
        expect(value).toBeGreaterThanOrEqual((values[step - 1] ?? 0) - 1e-12);
      }
    }
  }
});

test('the error is the weighed distance of confidence and truth, bin by bin', () => {
  const three = [
    { raw: 0.85, right: true, weight: 1, review: 'a' },
    { raw: 0.85, right: false, weight: 1, review: 'b' },
    { raw: 0.15, right: false, weight: 2, review: 'c' },
  ];
  // |1.7 - 1| + |0.3 - 0| over 4.
  expect(calibrationError(three)).toBeCloseTo(0.25, 12);
  expect(logLoss(three)).toBeCloseTo(-(Math.log(0.85) + Math.log(0.15) + 2 * Math.log(0.85)) / 4, 12);
  expect(logLoss([])).toBe(0);
  expect(calibrationError([])).toBe(0);
});
