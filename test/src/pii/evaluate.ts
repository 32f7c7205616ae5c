import {
  findPersonalData,
  PERSONAL_DATA_TYPES,
  type PersonalDataType,
  type Span,
} from '@landfall/masking/mask.ts';
import { typeNamed } from './entity-types.ts';
import type { Sample } from './samples.ts';

/** What is told of one kind. */
export interface TypeFigures {
  /** Spans in the file. */
  truth: number;
  found: number;
  /** Spans in the file that were found, with about their bounds. */
  right: number;
  /** With exactly their bounds. */
  exact: number;
  recall: number;
  precision: number;
  /** (1 + 2²) · precision · recall / (2² · precision + recall): recall counts four times. */
  f2: number;
}

export interface Evaluation {
  types: Partial<Record<PersonalDataType, TypeFigures>>;
  /** Names of entities in the file that nothing looks for, and how often they stand there. */
  unknown: Record<string, number>;
  samples: number;
  bytes: number;
  /** Processor time of one look at all samples. */
  seconds: number;
}

interface Truth extends Span {
  type: PersonalDataType | undefined;
}

/** Share of the two spans together that both must have for one to count as the other found. */
const ALIKE = 0.5;

/**
 * Compares what is found in samples with what they say stands there. A finding counts for a span of its kind when half
 * of the two together is common to both. What lies over a span of a kind that nothing looks for counts for neither side.
 * Only kinds that the file has, or that were found in it, are told of.
 */
export function evaluate(samples: readonly Sample[]): Evaluation {
  const counts = new Map<PersonalDataType, { truth: number; found: number; right: number; exact: number }>();
  const of = (type: PersonalDataType) => {
    const known = counts.get(type) ?? { truth: 0, found: 0, right: 0, exact: 0 };
    counts.set(type, known);
    return known;
  };
  const unknown: Record<string, number> = {};
  const look = () => samples.map(({ full_text }) => findPersonalData(full_text, PERSONAL_DATA_TYPES));
  const findings = look();
  const seconds = processorSeconds(look);
  samples.forEach((sample, i) => {
    const truths = truthsOf(sample);
    for (const [at, { type }] of truths.entries()) {
      const name = sample.spans[at]!.entity_type;
      if (type) of(type).truth++;
      else unknown[name] = (unknown[name] ?? 0) + 1;
    }
    const open = new Set(truths);
    for (const one of findings[i]!) {
      const match = [...open].find((truth) => truth.type === one.type && likeness(truth, one) >= ALIKE);
      if (!match && truths.some((truth) => !truth.type && overlap(truth, one) > 0)) continue;
      const count = of(one.type);
      count.found++;
      if (!match) continue;
      open.delete(match);
      count.right++;
      if (match.start === one.start && match.end === one.end) count.exact++;
    }
  });
  const types = Object.fromEntries(
    PERSONAL_DATA_TYPES.flatMap((type) => (counts.has(type) ? [[type, figures(counts.get(type)!)]] : [])),
  );
  const bytes = samples.reduce((sum, { full_text }) => sum + Buffer.byteLength(full_text), 0);
  return { types, unknown, samples: samples.length, bytes, seconds };
}

const ROUNDS = 5;
const ROUND_MICROSECONDS = 300_000;

/**
 * Processor time of one look, of all threads: the least of some rounds, each as long as the clock of the system needs to
 * tell it well. The first rounds make the code ready; where other work shares the processors its caches suffer as well.
 */
function processorSeconds(look: () => unknown): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const began = process.cpuUsage();
    let used = 0;
    let looks = 0;
    while (used < ROUND_MICROSECONDS) {
      look();
      looks++;
      const { user, system } = process.cpuUsage(began);
      used = user + system;
    }
    least = Math.min(least, used / looks / 1e6);
  }
  return least;
}

/** Spans in UTF-16 units: files count code points, as Python does. */
function truthsOf({ full_text: text, spans }: Sample): Truth[] {
  const plain = !/[\ud800-\udbff]/.test(text);
  const units = plain ? undefined : unitsOf(text);
  const at = (place: number) => units?.[place] ?? (plain ? place : text.length);
  return spans.map((span) => ({
    type: typeNamed(span.entity_type),
    start: at(span.start_position),
    end: at(span.end_position),
  }));
}

function unitsOf(text: string): number[] {
  const units = [0];
  for (const character of text) units.push(units.at(-1)! + character.length);
  return units;
}

const overlap = (a: Span, b: Span) => Math.max(0, Math.min(a.end, b.end) - Math.max(a.start, b.start));
const likeness = (a: Span, b: Span) => {
  const common = overlap(a, b);
  return common / (a.end - a.start + (b.end - b.start) - common);
};

function figures(count: { truth: number; found: number; right: number; exact: number }): TypeFigures {
  const { truth, found, right } = count;
  const recall = truth === 0 ? 1 : right / truth;
  const precision = found === 0 ? 1 : right / found;
  const weighted = 4 * precision + recall;
  return { ...count, recall, precision, f2: weighted === 0 ? 0 : (5 * precision * recall) / weighted };
}
