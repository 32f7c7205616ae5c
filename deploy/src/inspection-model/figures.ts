export type PixelBox = readonly [x0: number, y0: number, x1: number, y1: number];

/** A defect of a truth. */
export interface TrueDefect {
  type: string;
  severity: string;
  box: PixelBox;
}

/** A defect as it was reported. */
export interface ReportedDefect extends TrueDefect {
  /** Probability that it is there and of its type. */
  confidence: number;
}

/** How well some reports agree with the truth; shares of 1. */
export interface Figures {
  images: number;
  defects: number;
  /** Defects that a report has. */
  found: number;
  /** The same, where only boxes with an IoU of at least 0.5 count. */
  foundByHalf: number;
  /** Sound images that are reported as defective. */
  falseAlarms: number;
  /** Reported defects that are none. */
  falseDefects: number;
  /** Of the defects that were found: of the right type, of the right severity, with an IoU of at least 0.5. */
  types: number;
  severities: number;
  boxes: number;
  /** Mean IoU of the defects that were found. */
  meanIou: number;
  /** Expected calibration error of the confidences, over 10 bins of equal width (Guo et al. 2017). */
  calibrationError: number;
}

/** A reported box is a defect's when they overlap by this much, or when its centre lies in the defect's box. */
const OVERLAP = 0.3;
const BINS = 10;

/** Intersection over union. */
export function overlap(a: PixelBox, b: PixelBox): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const area = ([x0, y0, x1, y1]: PixelBox) => (x1 - x0) * (y1 - y0);
  return (width * height) / (area(a) + area(b) - width * height);
}

/** Which reported defect is which true one: pairs of indices, the largest overlap first, each taken once. */
export function pairs(
  truth: readonly TrueDefect[],
  reported: readonly ReportedDefect[],
): { truth: number; reported: number; iou: number }[] {
  const candidates = truth.flatMap(({ box }, t) =>
    reported.flatMap((one, r) => {
      const iou = overlap(box, one.box);
      return iou >= OVERLAP || centreWithin(one.box, box) ? [{ truth: t, reported: r, iou }] : [];
    }),
  );
  const taken: typeof candidates = [];
  for (const pair of candidates.sort((a, b) => b.iou - a.iou))
    if (!taken.some((other) => other.truth === pair.truth || other.reported === pair.reported))
      taken.push(pair);
  return taken;
}

/** @param rows one for each image */
export function figuresOf(
  rows: readonly { truth: readonly TrueDefect[]; reported: readonly ReportedDefect[] }[],
): Figures {
  const matched = rows.map(({ truth, reported }) => pairs(truth, reported));
  const all = rows.flatMap(({ truth, reported }, i) =>
    matched[i]!.map((pair) => ({ truth: truth[pair.truth]!, told: reported[pair.reported]!, iou: pair.iou })),
  );
  const defects = sum(rows.map(({ truth }) => truth.length));
  const told = sum(rows.map(({ reported }) => reported.length));
  const sound = rows.filter(({ truth }) => truth.length === 0);
  const half = all.filter(({ iou }) => iou >= 0.5).length;
  const judged = rows.flatMap(({ truth, reported }, i) =>
    reported.map(({ type, confidence }, r) => {
      const pair = matched[i]!.find((one) => one.reported === r);
      return { confidence, right: pair !== undefined && truth[pair.truth]!.type === type };
    }),
  );
  return {
    images: rows.length,
    defects,
    found: share(all.length, defects),
    foundByHalf: share(half, defects),
    falseAlarms: share(sound.filter(({ reported }) => reported.length > 0).length, sound.length),
    falseDefects: share(told - all.length, told),
    types: share(all.filter((pair) => pair.truth.type === pair.told.type).length, all.length),
    severities: share(all.filter((pair) => pair.truth.severity === pair.told.severity).length, all.length),
    boxes: share(half, all.length),
    meanIou: share(sum(all.map(({ iou }) => iou)), all.length),
    calibrationError: calibrationError(judged),
  };
}

function calibrationError(judged: readonly { confidence: number; right: boolean }[]): number {
  let error = 0;
  for (let bin = 0; bin < BINS; bin++) {
    const those = judged.filter(
      ({ confidence }) => Math.min(BINS - 1, Math.floor(confidence * BINS)) === bin,
    );
    error += Math.abs(sum(those.map(({ confidence, right }) => confidence - Number(right))));
  }
  return share(error, judged.length);
}

function centreWithin(box: PixelBox, [x0, y0, x1, y1]: PixelBox): boolean {
  const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  return x >= x0 && x < x1 && y >= y0 && y < y1;
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
