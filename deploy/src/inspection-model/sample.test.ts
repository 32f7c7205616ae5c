import { expect, test } from 'vitest';
import { answerOf } from './answer.ts';
import { BOX_SCALE, CELLS, SIDE, sampleOf, turned } from './sample.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`samples: LANDFALL_TEST_SEED=${seed}`);

test.each([0, 1, 2, 3, 4, 5, 6, 7])(
  'turned and mirrored the way %i, the truth still lies where the defects do',
  (way) => {
    for (let i = 0; i < 5; i++) {
      const sample = sampleOf({ seed: seed + i, count: 3 });
      const { pixels, targets, cells } = turned(sample, way);
      expect(pixels.length).toBe(SIDE * SIDE * 3);
      // The same pixels in other places.
      expect(pixels.toSorted()).toEqual(sample.pixels.toSorted());
      expect(targets.map(({ type, severity }) => `${type} ${severity}`).sort()).toEqual(
        sample.targets.map(({ type, severity }) => `${type} ${severity}`).sort(),
      );
      const tops = targets.map(({ box }) => box[1]);
      expect(tops).toEqual(tops.toSorted((a, b) => a - b));
      for (let at = 0; at < cells.length; at++) {
        if (cells[at] === 0) continue;
        const [x0, y0, x1, y1] = targets[cells[at]! - 1]!.box;
        const [x, y] = [((at % CELLS) + 0.5) / CELLS, (Math.floor(at / CELLS) + 0.5) / CELLS];
        const slack = 1 / CELLS + 0.5 / BOX_SCALE;
        expect(x).toBeGreaterThan(x0 / BOX_SCALE - slack);
        expect(x).toBeLessThan(x1 / BOX_SCALE + slack);
        expect(y).toBeGreaterThan(y0 / BOX_SCALE - slack);
        expect(y).toBeLessThan(y1 / BOX_SCALE + slack);
      }
    }
  },
);

test('an answer is JSON without spaces, boxes in hundredths', () => {
  expect(answerOf([{ type: 'scratch', severity: 'moderate', box: [0, 16, 32, 64] }])).toBe(
    '{"defects":[{"type":"scratch","severity":"moderate","box":[0,25,50,100]}]}',
  );
  expect(answerOf([])).toBe('{"defects":[]}');
});
