import { type Defect, Severity } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { Disposition, ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';

export type Ruling = Pick<Disposition, 'conclusion' | 'advice'>;

/**
 * What the catalogue says of a piece: the conclusion of its worst defect, the surest one of equals, and the advice of
 * all of them, the worst first.
 */
export function rulingOf(spec: ProfileSpec, defects: readonly Defect[]): Ruling {
  const { conclusion = '', advice = '' } = spec.sound ?? {};
  if (defects.length === 0) return { conclusion, advice };
  const byWeight = [...defects].sort((a, b) => b.severity - a.severity || b.confidence - a.confidence);
  const rulings = byWeight
    .map((defect) => dispositionOf(spec, defect))
    .filter((found) => found !== undefined);
  const advices = [...new Set(rulings.map((ruling) => ruling.advice))];
  return {
    conclusion: rulings[0]?.conclusion ?? '',
    advice: advices.join(spec.language === 'en' ? '; ' : ';'),
  };
}

/** That of the defect's severity, or the one for every severity, or the nearest worse one, or the worst there is. */
function dispositionOf(spec: ProfileSpec, { type, severity }: Defect): Disposition | undefined {
  const all = spec.defectTypes.find(({ id }) => id === type)?.dispositions ?? [];
  const rising = [...all].sort((a, b) => a.severity - b.severity);
  return (
    all.find((one) => one.severity === severity) ??
    all.find((one) => one.severity === Severity.UNSPECIFIED) ??
    rising.find((one) => one.severity > severity) ??
    rising.at(-1)
  );
}
