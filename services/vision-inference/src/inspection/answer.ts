import { Severity } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { type Located, locate } from './located-json.ts';
import { boxScale } from './question.ts';

/** A part of an answer, in UTF-16 code units. */
export interface Span {
  start: number;
  end: number;
}

/** A defect as the model named it. */
export interface Finding {
  type: string;
  severity: Severity;
  /** Left, top, right, bottom: shares of the image's width and height, 0 to 1. */
  box: readonly [number, number, number, number];
  /** Where it stands in the answer. */
  span: Span;
  /** Where its type stands, without quotes. */
  typeSpan: Span;
}

/** What a model answered, read. */
export interface Answer {
  findings: Finding[];
  /** Where the first defect stands or, where there is none, the end of the list; -1 without a list. */
  decisionAt: number;
  /** Where the list of defects begins and where its last bracket stands; -1 without a list. */
  listAt: number;
  endAt: number;
  /** Lines by the id of their section. */
  sections: Map<string, string[]>;
  /** Empty unless the model writes them. */
  conclusion: string;
  advice: string;
}

const SEVERITIES: Record<string, Severity> = {
  slight: Severity.SLIGHT,
  moderate: Severity.MODERATE,
  severe: Severity.SEVERE,
};

/** The answer is none that the profile's schema allows; the message says where, for the log and for people. */
export class AnswerError extends Error {
  override readonly name = 'AnswerError';
}

/**
 * Reads an answer strictly: backends that can't be held to a schema answer what they like.
 * @throws AnswerError
 */
export function readAnswer(text: string, spec: ProfileSpec): Answer {
  const root = mapOf(located(text), 'the answer');
  const list = spec.defectTypes.length > 0 ? memberOf(root, 'defects') : undefined;
  const items = list ? listOf(list, 'defects') : [];
  const findings = items.map((item, i) => finding(item, `defects[${i}]`, spec));
  const sections = new Map(
    spec.sections.map(({ id, maxLines }) => {
      const member = memberOf(root, id);
      const lines = maxLines === 1 ? [member] : listOf(member, id);
      return [id, lines.slice(0, maxLines).map((line) => textOf(line, id))];
    }),
  );
  const [listAt, endAt] = list ? [list.start, list.end - 1] : [-1, -1];
  const written = (name: string) => (spec.modelWritesText ? textOf(memberOf(root, name), name) : '');
  return {
    findings,
    decisionAt: findings[0]?.span.start ?? endAt,
    listAt,
    endAt,
    sections,
    conclusion: written('conclusion'),
    advice: written('advice'),
  };
}

function located(text: string): Located {
  try {
    return locate(text);
  } catch (cause) {
    throw new AnswerError('the answer is no JSON', { cause });
  }
}

function finding(item: Located, path: string, spec: ProfileSpec): Finding {
  const members = mapOf(item, path);
  const type = memberOf(members, 'type');
  if (!spec.defectTypes.some(({ id }) => id === type.value)) {
    throw new AnswerError(`${path}.type is not in the profile's catalogue`);
  }
  const severity = SEVERITIES[String(memberOf(members, 'severity').value)];
  if (!severity) throw new AnswerError(`${path}.severity is none`);
  const edges = listOf(memberOf(members, 'box'), `${path}.box`).map(({ value }) => value);
  if (edges.length !== 4 || !edges.every((edge) => typeof edge === 'number')) {
    throw new AnswerError(`${path}.box is not four numbers`);
  }
  return {
    type: String(type.value),
    severity,
    box: upright(edges as number[], boxScale(spec)),
    span: { start: item.start, end: item.end },
    typeSpan: { start: type.start + 1, end: type.end - 1 },
  };
}

/** Edges in order, within the image, and at least one step apart: a defect has a place. */
function upright(edges: readonly number[], scale: number): Finding['box'] {
  const within = edges.map((edge) => Math.min(scale, Math.max(0, Math.round(edge))));
  const side = (a: number, b: number) => {
    const low = Math.min(a, b, scale - 1);
    return [low / scale, Math.max(a, b, low + 1) / scale] as const;
  };
  const [x0, x1] = side(within[0]!, within[2]!);
  const [y0, y1] = side(within[1]!, within[3]!);
  return [x0, y0, x1, y1];
}

function mapOf({ value }: Located, path: string): Map<string, Located> {
  if (!(value instanceof Map)) throw new AnswerError(`${path} is no object`);
  return value;
}

function memberOf(map: ReadonlyMap<string, Located>, name: string): Located {
  const found = map.get(name);
  if (!found) throw new AnswerError(`the answer lacks ${name}`);
  return found;
}

function listOf({ value }: Located, path: string): Located[] {
  if (!Array.isArray(value)) throw new AnswerError(`${path} is no list`);
  return value;
}

function textOf({ value }: Located, path: string): string {
  if (typeof value !== 'string' || value.trim() === '') throw new AnswerError(`${path} is no text`);
  return value.trim();
}
