import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { pairedBootstrap } from '@landfall/metrics/bootstrap.ts';
import {
  type EvaluationDifference,
  EvaluationDifferenceSchema,
  type EvaluationMetric,
  type EvaluationRow,
  JobState,
  type TestSetRow,
} from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import {
  type ComparedEvaluation,
  type ComparedRow,
  ComparedRowSchema,
  type EvaluationComparison,
  EvaluationComparisonSchema,
} from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import { requireRight } from '../domain/rights.ts';
import { findJob } from '../jobs/job-store.ts';
import { overRows } from './aggregate.ts';
import { evaluationReply } from './evaluation-reply.ts';
import { answersOf, testsOf } from './evaluation-rows.ts';
import { metricName } from './metrics.ts';
import { measuredRows } from './results.ts';

/** One evaluation's answers by one deployment. */
export interface Side {
  id: string;
  version: string;
  deployment: string;
  digest: string;
  metrics: EvaluationMetric[];
  tests: TestSetRow[];
  /** In the order of the set; all of them. */
  answers: EvaluationRow[];
}

/** @throws LandfallError NOT_FOUND, FAILED_PRECONDITION for one that has not ended well, INVALID_ARGUMENT for the deployment */
export async function readSide(
  em: EntityManager,
  identity: Identity,
  { id, deployment }: ComparedEvaluation,
  field: string,
): Promise<Side> {
  const job = await findJob(em, identity.tenant, 'evaluation', id);
  await requireRight(em, identity, job.name, 'viewer');
  const { state, version, deployments, metrics } = evaluationReply(job);
  if (state !== JobState.SUCCEEDED) {
    throw failedPrecondition(`evaluation ${id} is ${job.state}; only what has ended well can be compared`);
  }
  const place = deployment ? deployments.indexOf(deployment) : 0;
  if (place < 0) throw invalidArgument(`${field}.deployment`, `is none of ${deployments.join(', ')}`);
  const [tests, answers] = [await testsOf(em, job), await answersOf(em, id, place)];
  const digest = job.testSetDigest;
  return { id, version, deployment: deployments[place]!, digest, metrics, tests, answers };
}

/** Every side against the first. @throws LandfallError FAILED_PRECONDITION where the rows are not the same */
export function compareSides(
  [first, ...others]: readonly Side[],
  resamples: number,
  seed: bigint,
): EvaluationComparison[] {
  return others.map((other) => {
    if (other.digest !== first!.digest) {
      throw failedPrecondition(
        `evaluations ${first!.id} and ${other.id} were made on different rows and can't be compared; ` +
          'evaluate both versions on the same version of a test set',
        { reason: 'DIFFERENT_ROWS' },
      );
    }
    const differences = commonMetrics([first!, other])
      .map((metric) => difference(metric, first!, other, resamples, seed))
      .sort((a, b) => (a.metric < b.metric ? -1 : 1));
    const { id, version, deployment } = other;
    return create(EvaluationComparisonSchema, { evaluationId: id, version, deployment, differences });
  });
}

/** Metrics that all sides have measured in the same way. */
function commonMetrics([first, ...others]: readonly Side[]): EvaluationMetric[] {
  const text = (metric: EvaluationMetric) => JSON.stringify(metric);
  return first!.metrics.filter((metric) =>
    others.every(({ metrics }) => metrics.some((one) => text(one) === text(metric))),
  );
}

/** The difference of one metric between two sides of the same rows. */
export function difference(
  metric: EvaluationMetric,
  first: Pick<Side, 'tests' | 'answers'>,
  second: Pick<Side, 'tests' | 'answers'>,
  resamples: number,
  seed: bigint,
): EvaluationDifference {
  const name = metricName(metric);
  const measured = [first, second].map(({ tests, answers }) => measuredRows(tests, answers));
  // A judge may have left a row out on one side: what is compared has both.
  const isMean = !['bleu', 'chrf'].includes(
    metric.kind.case === 'code' ? (metric.kind.value.kind.case ?? '') : '',
  );
  const both = measured[0]!.flatMap((row, i) => {
    const pair = [row, measured[1]![i]!] as const;
    const has = isMean ? pair.every(({ scores }) => name in scores) : row.test.expected.length > 0;
    return has ? [pair] : [];
  });
  const sides = [0, 1].map((side) =>
    overRows(
      metric,
      both.map((pair) => pair[side]!),
    ),
  );
  const rows = both.length;
  const found = pairedBootstrap(sides[0]!, sides[1]!, { rows, resamples, seed });
  return create(EvaluationDifferenceSchema, { metric: name, ...found, rows });
}

/** Rows of all sides, those whose scores differ most first. */
export function sideBySide(sides: readonly Side[], asked: string, most: number): ComparedRow[] {
  const names = commonMetrics(sides).map(metricName);
  const name = asked || names[0];
  if (!name) return [];
  if (!names.includes(name)) throw invalidArgument('metric', `all have measured ${names.join(', ')} alone`);
  const spread = (row: number) => {
    const values = sides.map(({ answers }) => answers[row]?.scores[name] ?? 0);
    return Math.max(...values) - Math.min(...values);
  };
  const { tests } = sides[0]!;
  const order = [...tests.keys()].sort((a, b) => spread(b) - spread(a) || a - b).slice(0, most);
  return order.map((row) =>
    create(ComparedRowSchema, {
      row,
      test: tests[row]!,
      answers: sides.map(({ answers }) => answers[row]!),
    }),
  );
}
