import { expect, test } from 'vitest';
import { figuresOf, overlap, pairs, type ReportedDefect, type TrueDefect } from './figures.ts';

const scratch: TrueDefect = { type: 'scratch', severity: 'slight', box: [0, 0, 40, 20] };
const stain: TrueDefect = { type: 'stain', severity: 'severe', box: [60, 60, 100, 100] };
const told = (defect: TrueDefect, changes: Partial<ReportedDefect> = {}): ReportedDefect => ({
  ...defect,
  confidence: 1,
  ...changes,
});

test('overlap is intersection over union', () => {
  expect(overlap([0, 0, 10, 10], [5, 0, 15, 10])).toBeCloseTo(1 / 3);
  expect(overlap([0, 0, 10, 10], [10, 0, 20, 10])).toBe(0);
});

test('a defect is taken once, by the box that overlaps most', () => {
  const far = told(scratch, { box: [0, 0, 20, 20] });
  expect(pairs([scratch], [far, told(scratch)])).toEqual([{ truth: 0, reported: 1, iou: 1 }]);
});

test('a small box whose centre lies within counts as found, and not as a good box', () => {
  const figures = figuresOf([{ truth: [scratch], reported: [told(scratch, { box: [15, 8, 20, 12] })] }]);
  expect(figures).toMatchObject({ found: 1, foundByHalf: 0, boxes: 0, falseDefects: 0 });
});

test('shares are of what they say', () => {
  const figures = figuresOf([
    {
      truth: [scratch, stain],
      reported: [told(scratch, { type: 'crack' }), told(stain, { severity: 'slight' })],
    },
    { truth: [stain], reported: [] },
    { truth: [], reported: [told(stain, { confidence: 0.6 })] },
    { truth: [], reported: [] },
  ]);
  expect(figures).toMatchObject({
    images: 4,
    defects: 3,
    found: 2 / 3,
    falseAlarms: 0.5,
    falseDefects: 1 / 3,
    types: 0.5,
    severities: 0.5,
    boxes: 1,
    meanIou: 1,
  });
  // Of those told with 1 half were right; the one told with 0.6 was not.
  expect(figures.calibrationError).toBeCloseTo((1 + 0.6) / 3);
});

test('nothing to measure is zero, not no number', () => {
  expect(Object.values(figuresOf([])).every((value) => value === 0)).toBe(true);
});
