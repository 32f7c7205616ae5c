import { create, toJsonString } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { EvaluationMetric, TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import {
  OptimizationMove as Move,
  type Optimization,
  OptimizationBudgetSchema,
  OptimizationSchema,
  OptimizationStage,
} from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import type { OptimizePromptRequest } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { VersionRow } from '../db/entities.ts';
import type { JobRow, TestSetRecord } from '../db/evaluation-entities.ts';
import { loadContents } from '../domain/load-parts.ts';
import { checkMetrics, namedMetric } from '../evaluation/metrics.ts';
import { DEFAULT_CONCURRENCY, requireRenderable } from '../evaluation/new-evaluation.ts';
import { insertJob } from '../jobs/job-store.ts';
import { loadRows, testSetRef } from '../test-sets/store.ts';
import { boundsOf } from './budget.ts';
import { inputKey, type Split, splitRows } from './split.ts';

const ALL_MOVES = [Move.INSTRUCTION, Move.EXAMPLES, Move.FORMAT, Move.STRUCTURE];
const FEWEST_ROWS = 4;
const DEFAULT_HELD_OUT = 0.5;

export const writeOptimization = (optimization: Optimization): string =>
  toJsonString(OptimizationSchema, optimization);

/**
 * Writes an optimisation that a runner takes up, in the caller's transaction.
 * @throws LandfallError INVALID_ARGUMENT for what is wrong with the request, FAILED_PRECONDITION for rows that are too few
 *   or don't fit, and a budget that validation alone exceeds
 */
export async function newOptimization(
  em: EntityManager,
  author: string,
  version: VersionRow,
  set: TestSetRecord,
  request: OptimizePromptRequest,
  maxLength: number,
): Promise<JobRow> {
  const contents = await loadContents(em, version);
  const rows = await loadRows(em, set);
  if (request.deployment === '') throw invalidArgument('deployment', 'name the one that answers');
  const metric = metricOf(request);
  checkMetrics([metric], rows, contents.draft, () => (request.measure ? 'measure' : 'metric'));
  const ref = testSetRef(set);
  requireRenderable(contents, rows, maxLength, ref);
  const moves = request.moves.length > 0 ? request.moves : ALL_MOVES;
  const { seed, heldOutShare } = request;
  const optimization = create(OptimizationSchema, {
    stage: OptimizationStage.SEARCH,
    deployment: request.deployment,
    rewriter: request.rewriter || request.deployment,
    ...{ metric, moves, seed, heldOutShare: heldOutShare || DEFAULT_HELD_OUT },
    budget: create(OptimizationBudgetSchema, boundsOf(request.budget)),
    concurrency: request.concurrency || DEFAULT_CONCURRENCY,
  });
  const split = splitOf(optimization, rows);
  requireEnough(ref, rows, split);
  optimization.exampleRows = split.examples.length;
  optimization.developmentRows = split.development.length;
  optimization.heldOutRows = split.heldOut.length;
  requireBudget(optimization);
  const { tenant, name } = version;
  return insertJob(em, {
    ...{ tenant, kind: 'optimization', name, version: version.version, author },
    content: writeOptimization(optimization),
    testSet: ref,
    testSetDigest: set.digest,
  });
}

/** The same for the same optimisation, whenever it is asked for. */
export const splitOf = (
  { seed, heldOutShare, moves }: Pick<Optimization, 'seed' | 'heldOutShare' | 'moves'>,
  rows: readonly TestSetRow[],
): Split =>
  splitRows(rows, {
    ...{ seed, heldOutShare },
    withExamples: moves.includes(Move.EXAMPLES) || moves.includes(Move.INSTRUCTION),
  });

/** Answers that one row takes: the model's, and a judge's. */
export const callsPerRow = (metric: EvaluationMetric): number => (metric.kind.case === 'judge' ? 2 : 1);

/** Answers that measuring two versions on the held-out rows takes. */
export const validationCalls = ({ heldOutRows, metric }: Optimization): number =>
  2 * heldOutRows * callsPerRow(metric!);

function metricOf({ metric, measure }: OptimizePromptRequest): EvaluationMetric {
  if (metric && measure) throw invalidArgument('measure', 'is given beside metric; give one of them');
  if (measure) return measure;
  if (metric === '') throw invalidArgument('metric', 'name what is to be raised, such as exact_match');
  return namedMetric(metric, 'metric');
}

/** The same input ten times tells as much as once. */
function requireEnough(ref: string, rows: readonly TestSetRow[], { development, heldOut }: Split): void {
  const inputs = (of: readonly number[]) => new Set(of.map((row) => inputKey(rows[row]!))).size;
  const [tried, validated] = [inputs(development), inputs(heldOut)];
  if (tried >= FEWEST_ROWS && validated >= FEWEST_ROWS) return;
  throw failedPrecondition(
    `${ref} has ${rows.length} rows: ${tried} different inputs are left to measure proposals on and ${validated} to ` +
      `validate with; at least ${FEWEST_ROWS} of each are needed`,
    { reason: 'TOO_FEW_ROWS' },
  );
}

function requireBudget(optimization: Optimization): void {
  const { maxCalls } = optimization.budget!;
  const perRow = callsPerRow(optimization.metric!);
  const least = validationCalls(optimization) + optimization.developmentRows * perRow;
  if (maxCalls > least) return;
  throw invalidArgument(
    'budget.max_calls',
    `is ${maxCalls}; measuring the first version and validating takes ${least} already, and each proposal more`,
  );
}
