import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import {
  type EvaluationMetric,
  EvaluationMetricSchema,
  type TestSetRow,
} from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { checkScoreFunction, needsExpected, scoreNameOf } from '../domain/score-functions.ts';

type Kind = MessageInitShape<typeof EvaluationMetricSchema>['kind'];

/** Metrics that go by a name alone. */
const NAMED: Readonly<Record<string, Kind>> = {
  exact_match: { case: 'code', value: { kind: { case: 'exactMatch', value: {} } } },
  bleu: { case: 'code', value: { kind: { case: 'bleu', value: {} } } },
  chrf: { case: 'code', value: { kind: { case: 'chrf', value: {} } } },
  rouge_l: { case: 'code', value: { kind: { case: 'rougeL', value: {} } } },
  contains: { case: 'code', value: { kind: { case: 'contains', value: {} } } },
  checks: { case: 'checks', value: {} },
  contract: { case: 'contract', value: {} },
};

/** @throws LandfallError INVALID_ARGUMENT on `field` */
export function namedMetric(name: string, field: string): EvaluationMetric {
  const kind = Object.hasOwn(NAMED, name) ? NAMED[name] : undefined;
  if (kind) return create(EvaluationMetricSchema, { kind });
  throw invalidArgument(
    field,
    `'${name}' is none of ${Object.keys(NAMED).join(', ')}; describe another one in full`,
  );
}

/** The name that a metric's values go by. */
export function metricName({ kind }: EvaluationMetric): string {
  return kind.case === 'code' ? scoreNameOf(kind.value) : (kind.case ?? '');
}

/** Whether a metric says something about a row. */
export function appliesTo({ kind }: EvaluationMetric, row: TestSetRow): boolean {
  if (kind.case === 'code') return !needsExpected(kind.value) || row.expected.length > 0;
  return kind.case !== 'checks' || row.checks.length > 0;
}

/** What the rows and the version allow. @throws LandfallError INVALID_ARGUMENT where that is nothing */
export function defaultMetrics(rows: readonly TestSetRow[], draft: PromptDraft): EvaluationMetric[] {
  const names = [
    ...(rows.some(({ expected }) => expected.length > 0) ? ['exact_match', 'bleu', 'chrf', 'rouge_l'] : []),
    ...(rows.some(({ checks }) => checks.length > 0) ? ['checks'] : []),
    ...(draft.outputContract ? ['contract'] : []),
  ];
  if (names.length === 0) {
    throw invalidArgument(
      'metrics',
      'name one: the rows have neither expected answers nor checks, and the version has no output contract',
    );
  }
  return names.map((name) => namedMetric(name, 'metrics'));
}

/** @throws LandfallError INVALID_ARGUMENT for two of one name, one that can't be computed or says nothing about any row */
export function checkMetrics(
  metrics: readonly EvaluationMetric[],
  rows: readonly TestSetRow[],
  draft: PromptDraft,
  fieldOf: (index: number) => string,
): void {
  const names = new Set<string>();
  for (const [i, metric] of metrics.entries()) {
    const field = fieldOf(i);
    const name = metricName(metric);
    if (names.has(name)) throw invalidArgument(field, `'${name}' comes twice; give one of them another name`);
    names.add(name);
    if (metric.kind.case === 'code') checkScoreFunction(metric.kind.value, `${field}.code`);
    if (metric.kind.case === 'contract' && !draft.outputContract) {
      throw invalidArgument(field, 'the version has no output contract to be kept');
    }
    if (!rows.some((row) => appliesTo(metric, row))) {
      const lacks = metric.kind.case === 'checks' ? 'checks' : 'an expected answer';
      throw invalidArgument(field, `'${name}' says nothing here: no row has ${lacks}`);
    }
  }
}

/** The best value that a metric can have. */
export function bestValue({ kind }: EvaluationMetric): number {
  if (kind.case === 'judge') return 10;
  const code = kind.case === 'code' ? kind.value.kind.case : undefined;
  return code === 'bleu' || code === 'chrf' ? 100 : 1;
}
