import { create } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import {
  type Defect,
  DefectSchema,
  type Report,
  type ReportSection,
  type ReviewDecision,
  Severity,
} from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { rulingOf } from './dispositions.ts';
import { positionOf, type Told } from './words.ts';

/** Boxes that overlap by this share mean the same place to two people. */
const SAME_PLACE = 0.3;

/**
 * A person's defects, checked against the profile and completed with what follows from box and type.
 * @throws LandfallError INVALID_ARGUMENT that names the field
 */
export function decidedDefects(
  given: readonly Defect[],
  report: Report,
  { defectTypes, language }: ProfileSpec,
): Defect[] {
  const { imageWidth: width, imageHeight: height } = report;
  return given.map(({ type, severity, box, position }, i) => {
    const known = defectTypes.find(({ id }) => id === type);
    if (!known) {
      const ids = defectTypes.map(({ id }) => id).join(', ');
      throw invalidArgument(`defects[${i}].type`, `'${type}' is not in the profile's catalogue: ${ids}`);
    }
    if (severity === Severity.UNSPECIFIED)
      throw invalidArgument(`defects[${i}].severity`, 'say how bad it is');
    if (box && !(box.x0 < box.x1 && box.x1 <= width && box.y0 < box.y1 && box.y1 <= height)) {
      throw invalidArgument(`defects[${i}].box`, `is no part of the image of ${width} x ${height} pixels`);
    }
    return create(DefectSchema, {
      ...{ type, severity, name: known.name, confidence: 1 },
      ...(box ? { box } : {}),
      position: position || (box ? positionOf(box, width, height, language) : ''),
    });
  });
}

/** @throws LandfallError INVALID_ARGUMENT for a part that the profile does not have */
export function decidedSections(given: readonly ReportSection[], { sections }: ProfileSpec): ReportSection[] {
  return given.map((section, i) => {
    const known = sections.find(({ id }) => id === section.id);
    if (!known)
      throw invalidArgument(`sections[${i}].id`, `'${section.id}' is no part of the profile's reports`);
    if (section.lines.length === 0 || section.lines.length > known.maxLines) {
      throw invalidArgument(
        `sections[${i}].lines`,
        `has ${section.lines.length}; give 1 to ${known.maxLines}`,
      );
    }
    return { ...section, title: known.title };
  });
}

/** Whether two people's words (or the report's and a person's) are the same: defects in any order, parts by their text. */
export function agree(
  a: Pick<ReviewDecision, 'defects' | 'sections'>,
  b: Pick<ReviewDecision, 'defects' | 'sections'>,
): boolean {
  const left = [...b.defects];
  for (const defect of a.defects) {
    const at = left.findIndex((other) => same(defect, other));
    if (at < 0) return false;
    left.splice(at, 1);
  }
  const words = (sections: readonly ReportSection[]) =>
    JSON.stringify(sections.map(({ id, lines }) => [id, lines]).sort());
  return left.length === 0 && words(a.sections) === words(b.sections);
}

/** What a person found where the report has nothing of the type. */
export function newFindings(reported: readonly Defect[], decided: readonly Defect[]): Defect[] {
  return decided.filter((found) => !reported.some((known) => matches(known, found)));
}

/** Whether two people (or the report and a person) mean the same defect, however bad they find it. */
export function matches(a: Defect, b: Defect): boolean {
  return a.type === b.type && (!a.box || !b.box || overlap(a.box, b.box) >= SAME_PLACE);
}

const same = (a: Defect, b: Defect) => a.severity === b.severity && matches(a, b);

type Edges = Pick<NonNullable<Defect['box']>, 'x0' | 'y0' | 'x1' | 'y1'>;

/** Intersection over union. */
export function overlap(a: Edges, b: Edges): number {
  const side = (low: number, high: number) => Math.max(0, high - low);
  const area = (box: typeof a) => side(box.x0, box.x1) * side(box.y0, box.y1);
  const both =
    side(Math.max(a.x0, b.x0), Math.min(a.x1, b.x1)) * side(Math.max(a.y0, b.y0), Math.min(a.y1, b.y1));
  const all = area(a) + area(b) - both;
  return all === 0 ? 0 : both / all;
}

/** A report as a decision leaves it, for its text form. */
export function decidedReport(report: Report, decision: ReviewDecision, spec: ProfileSpec): Told {
  const { notice } = report;
  if (decision.confirms) return report;
  const corrected = new Map(decision.sections.map((section) => [section.id, section]));
  return {
    ...{ notice, defective: decision.defects.length > 0, defects: decision.defects },
    sections: report.sections.map((section) => corrected.get(section.id) ?? section),
    // What the model wrote itself was about what it saw: a person's finding has the catalogue's words, or none.
    ...rulingOf(spec, decision.defects),
  };
}
