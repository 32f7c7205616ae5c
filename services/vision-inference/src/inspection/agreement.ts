import { Severity } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import type { Finding } from './answer.ts';
import { overlap } from './decided.ts';
import { boxScale, mostDefects } from './question.ts';

type Box = Finding['box'];

/** A defect as one look named it, its box where it lies in the image as it came. */
export interface Named extends Pick<Finding, 'type' | 'severity' | 'box'> {
  confidence: number;
}

/** Boxes of one defect overlap by this much (intersection over union), or one's centre lies in the other. */
const OVERLAP = 0.3;

/**
 * What several looks at one image say together. Each defect is what the looks that named it say by the weight of their
 * confidences, its box the median of theirs, and its confidence the mean over all looks: 0 of one that did not name it.
 * @param least confidence from which on a defect is named
 * @returns in reading order, as many as an answer may name, the surest
 */
export function agreement(looks: readonly (readonly Named[])[], spec: ProfileSpec, least: number): Named[] {
  const groups: { look: number; named: Named }[][] = [];
  for (const [look, defects] of looks.entries()) {
    for (const named of [...defects].sort((a, b) => b.confidence - a.confidence)) {
      // One look names a defect once: a second one near it is another.
      const known = groups.find(
        (group) => group.every((other) => other.look !== look) && isSame(named.box, group[0]!.named.box),
      );
      if (known) known.push({ look, named });
      else groups.push([{ look, named }]);
    }
  }
  return groups
    .map((group) => {
      const all = group.map(({ named }) => named);
      return {
        ...{ type: heaviest(all, ({ type }) => type), severity: heaviest(all, ({ severity }) => severity) },
        box: medianBox(
          all.map(({ box }) => box),
          boxScale(spec),
        ),
        confidence: all.reduce((sum, { confidence }) => sum + confidence, 0) / looks.length,
      };
    })
    .filter(({ confidence }) => confidence >= least)
    .sort((a, b) => b.confidence - a.confidence)
    .slice(0, mostDefects(spec))
    .sort(({ box: a }, { box: b }) => a[1] - b[1] || a[0] - b[0]);
}

const NAMES: Partial<Record<Severity, string>> = {
  [Severity.SLIGHT]: 'slight',
  [Severity.MODERATE]: 'moderate',
  [Severity.SEVERE]: 'severe',
};

/** The list of an answer that names these defects, as a model held to the profile's schema writes it. */
export function listOf(defects: readonly Named[], spec: ProfileSpec): string {
  const scale = boxScale(spec);
  return JSON.stringify(
    defects.map(({ type, severity, box }) => ({
      ...{ type, severity: NAMES[severity], box: box.map((edge) => Math.round(edge * scale)) },
    })),
  );
}

function isSame(a: Box, b: Box): boolean {
  const edges = ([x0, y0, x1, y1]: Box) => ({ x0, y0, x1, y1 });
  return overlap(edges(a), edges(b)) >= OVERLAP || isCentreIn(a, b) || isCentreIn(b, a);
}

function isCentreIn(a: Box, [x0, y0, x1, y1]: Box): boolean {
  const [x, y] = [(a[0] + a[2]) / 2, (a[1] + a[3]) / 2];
  return x >= x0 && x < x1 && y >= y0 && y < y1;
}

/** What most of the confidence stands for. */
function heaviest<T>(all: readonly Named[], what: (named: Named) => T): T {
  const weights = new Map<T, number>();
  for (const named of all) weights.set(what(named), (weights.get(what(named)) ?? 0) + named.confidence);
  return [...weights].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
}

/** In whole steps of the scale, at least one wide and high. */
function medianBox(boxes: readonly Box[], scale: number): Box {
  const edge = (i: 0 | 1 | 2 | 3) => {
    const values = boxes.map((box) => box[i]).sort((a, b) => a - b);
    const [low, high] = [values[(values.length - 1) >> 1]!, values[values.length >> 1]!];
    return Math.round(((low + high) / 2) * scale);
  };
  const [x0, y0, x1, y1] = [edge(0), edge(1), edge(2), edge(3)];
  return [x0 / scale, y0 / scale, Math.max(x0 + 1, x1) / scale, Math.max(y0 + 1, y1) / scale];
}
