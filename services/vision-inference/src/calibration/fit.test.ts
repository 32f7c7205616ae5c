import { expect, test } from 'vitest';
import { generator, testSeed } from '../../../graph/test/random.ts';
import { temperatureCurve } from './apply.ts';
import { type Claim, calibrationError, curveOf, fitIsotonic, fitTemperature, heldOutError } from './fit.ts';

const random = generator(testSeed('calibration'));

/** Claims of a model that is surer than it is right: its log-odds are three times too large. */
const overconfident = (count: number): Claim[] =>
  Array.from({ length: count }, () => {
    const truth = 0.02 + 0.96 * random();
    return { raw: temperatureCurve(1 / 3)(truth), right: random() < truth, weight: 1 };
  });

test('the temperature of an overconfident model is found', () => {
  const fit = fitTemperature(overconfident(4000));
  expect('temperature' in fit && fit.temperature).toBeGreaterThan(2.5);
  expect('temperature' in fit && fit.temperature).toBeLessThan(3.6);
});

test.each([
  ['temperature', fitTemperature],
  ['isotonic', fitIsotonic],
])('%s makes confidences true on claims that it had not seen', (_, fit) => {
  const claims = overconfident(4000);
  expect(calibrationError(claims)).toBeGreaterThan(0.1);
  expect(heldOutError(claims, fit)).toBeLessThan(0.05);
  expect(calibrationError(overconfident(4000), curveOf(fit(claims)))).toBeLessThan(0.05);
});

test('curves never fall, and stay between 0 and 1, whatever the claims', () => {
  for (let i = 0; i < 200; i++) {
    const claims = Array.from({ length: 1 + Math.floor(random() * 30) }, () => ({
      raw: random() < 0.3 ? Math.round(random() * 3) / 3 : random(),
      right: random() < 0.5,
      weight: random() < 0.5 ? 1 : 1 + random() * 50,
    }));
    for (const fit of [fitTemperature, fitIsotonic]) {
      const curve = curveOf(fit(claims));
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
  const claims = [
    { raw: 0.85, right: true, weight: 1 },
    { raw: 0.85, right: false, weight: 1 },
    { raw: 0.15, right: false, weight: 2 },
  ];
  // |1.7 - 1| + |0.3 - 0| over 4.
  expect(calibrationError(claims)).toBeCloseTo(0.25, 12);
  expect(calibrationError([])).toBe(0);
});
