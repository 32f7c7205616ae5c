import { describe, expect, test } from 'vitest';
import { Random } from './random.ts';
import { damageOf, SEVERITIES, severityOf } from './severity.ts';
import { DEFECT_TYPES, type Defect, MATERIALS, makeSurface, type Surface } from './surface.ts';

const base = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`surfaces: LANDFALL_TEST_SEED=${base}`);

/** Surfaces with one defect each. */
const pool = Array.from({ length: 480 }, (_, i) =>
  makeSurface({ seed: base + i, width: 96, height: 96, count: 1 }),
).filter(({ defects }) => defects.length === 1);

const surfacesWith = (wanted: (defect: Defect) => boolean) => {
  const found = pool.filter(({ defects: [defect] }) => wanted(defect!));
  expect(found.length).toBeGreaterThan(5);
  return found;
};

const pixelsOf = ({ mask }: Surface, index: number) =>
  [...mask.keys()].filter((at) => mask[at] === index + 1);
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

test('the same seed makes the same bytes, another seed others', () => {
  const options = { seed: base, width: 96, height: 64, count: 2 };
  expect(makeSurface(options)).toEqual(makeSurface(options));
  expect(makeSurface({ ...options, seed: base + 1 }).rgb).not.toEqual(makeSurface(options).rgb);
});

test.each(MATERIALS)(
  '%s: of the size asked for, neither black nor blank, and the mask agrees with the boxes',
  (material) => {
    for (let seed = base; seed < base + 20; seed++) {
      const surface = makeSurface({ seed, material, width: 160, height: 120, count: 3 });
      const { width, height, rgb, mask, defects } = surface;
      expect(rgb.length).toBe(width * height * 3);
      expect(mask.length).toBe(width * height);
      expect(new Set(rgb).size).toBeGreaterThan(20);
      expect(Math.max(...mask)).toBe(defects.length);
      for (const [i, { box }] of defects.entries()) {
        const [x0, y0, x1, y1] = box;
        const pixels = pixelsOf(surface, i);
        const xs = pixels.map((at) => at % width);
        const ys = pixels.map((at) => Math.floor(at / width));
        expect(x0).toBeLessThanOrEqual(Math.min(...xs));
        expect(y0).toBeLessThanOrEqual(Math.min(...ys));
        expect(x1).toBeGreaterThan(Math.max(...xs));
        expect(y1).toBeGreaterThan(Math.max(...ys));
        const least = Math.ceil(Math.min(width, height) / 16);
        // Tight, but where a thin defect's box is widened.
        if (x1 - x0 > least) expect([x0, x1]).toEqual([Math.min(...xs), Math.max(...xs) + 1]);
        if (y1 - y0 > least) expect([y0, y1]).toEqual([Math.min(...ys), Math.max(...ys) + 1]);
        expect(Math.min(x0, y0, width - x1, height - y1)).toBeGreaterThanOrEqual(0);
      }
      const tops = defects.map(({ box }) => box[1]);
      expect(tops).toEqual(tops.toSorted((a, b) => a - b));
    }
  },
);

test('boxes of one surface lie apart', () => {
  for (let seed = base; seed < base + 30; seed++) {
    const { defects } = makeSurface({ seed, width: 128, height: 128, count: 3 });
    for (const [i, { box: a }] of defects.entries())
      for (const { box: b } of defects.slice(i + 1))
        expect(a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1]).toBe(true);
  }
});

test('none is asked for, none is there', () => {
  const { defects, mask } = makeSurface({ seed: base, count: 0 });
  expect(defects).toEqual([]);
  expect(mask.every((value) => value === 0)).toBe(true);
});

test('every type and severity comes on every material', () => {
  for (const material of MATERIALS) {
    const seen = new Set<string>();
    for (let seed = base; seed < base + 400 && seen.size < 12; seed++)
      for (const { type, severity } of makeSurface({ seed, material, width: 64, height: 64, count: 3 })
        .defects)
        seen.add(`${type} ${severity}`);
    expect([...seen].sort(), material).toEqual(
      DEFECT_TYPES.flatMap((type) => SEVERITIES.map((severity) => `${type} ${severity}`)).sort(),
    );
  }
});

describe('severity', () => {
  test('a damage made for a severity is of it by the rule', () => {
    const random = new Random(base);
    for (let i = 0; i < 300; i++) {
      const severity = random.pick(SEVERITIES);
      const damage = damageOf(severity, random);
      expect(severityOf(damage)).toBe(severity);
      for (const part of [damage.size, damage.contrast]) expect(part >= 0 && part <= 1).toBe(true);
    }
  });

  test.each(DEFECT_TYPES)('%s: severe ones are larger than slight ones', (type) => {
    const size = (severity: string) =>
      mean(
        surfacesWith((defect) => defect.type === type && defect.severity === severity).map(
          ({ defects: [defect] }) =>
            Math.hypot(defect!.box[2] - defect!.box[0], defect!.box[3] - defect!.box[1]),
        ),
      );
    expect(size('severe')).toBeGreaterThan(1.5 * size('slight'));
  });
});

describe('what a type claims to look like', () => {
  /** Mean light of a defect's pixels less that of the sound ones beside it, within its box. */
  const contrast = (surface: Surface) => {
    const { rgb, width, defects, mask } = surface;
    const [x0, y0, x1, y1] = defects[0]!.box;
    const [inside, beside]: [number[], number[]] = [[], []];
    for (let y = y0; y < y1; y++)
      for (let x = x0; x < x1; x++) {
        const at = y * width + x;
        (mask[at] ? inside : beside).push(rgb[at * 3]! + rgb[at * 3 + 1]! + rgb[at * 3 + 2]!);
      }
    return mean(inside) - mean(beside);
  };
  const share = (surface: Surface) => {
    const [x0, y0, x1, y1] = surface.defects[0]!.box;
    return pixelsOf(surface, 0).length / ((x1 - x0) * (y1 - y0));
  };
  const of = (type: string) => surfacesWith((defect) => defect.type === type && defect.severity !== 'slight');

  test('cracks are darker than what is beside them, scratches lighter', () => {
    expect(mean(of('crack').map(contrast))).toBeLessThan(-20);
    expect(mean(of('scratch').map(contrast))).toBeGreaterThan(10);
  });

  test('cracks and scratches are thin, deformations and stains fill their boxes', () => {
    for (const type of ['crack', 'scratch']) expect(mean(of(type).map(share)), type).toBeLessThan(0.35);
    for (const type of ['deformation', 'stain'])
      expect(mean(of(type).map(share)), type).toBeGreaterThan(0.55);
  });
});

test.each([{ width: 31 }, { height: 4097 }, { width: 64.5 }])('a size that is refused: %j', (size) => {
  expect(() => makeSurface({ seed: base, ...size })).toThrow('32 to 4096 pixels a side');
});
