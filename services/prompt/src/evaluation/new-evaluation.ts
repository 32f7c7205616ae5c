import { create, toJsonString } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition, invalidArgument, LandfallError } from '@landfall/common/errors/errors.ts';
import {
  type Evaluation,
  EvaluationSchema,
  type TestSetRow,
} from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { EvaluatePromptRequest } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { VersionRow } from '../db/entities.ts';
import type { JobRow, TestSetRecord } from '../db/evaluation-entities.ts';
import { type Contents, loadContents } from '../domain/load-parts.ts';
import { render } from '../domain/render.ts';
import { insertJob } from '../jobs/job-store.ts';
import { loadRows, testSetRef } from '../test-sets/store.ts';
import { checkMetrics, defaultMetrics } from './metrics.ts';

export const DEFAULT_CONCURRENCY = 8;
const TOLD = 5;

/** What is kept of an evaluation beside its columns. */
export const writeEvaluation = (evaluation: Evaluation): string => toJsonString(EvaluationSchema, evaluation);

/**
 * Writes an evaluation that a runner takes up, in the caller's transaction.
 * @throws LandfallError INVALID_ARGUMENT for metrics and deployments, FAILED_PRECONDITION for rows that can't be rendered
 */
export async function newEvaluation(
  em: EntityManager,
  author: string,
  version: VersionRow,
  set: TestSetRecord,
  request: EvaluatePromptRequest,
  maxLength: number,
): Promise<JobRow> {
  const { draft, parts } = await loadContents(em, version);
  const rows = await loadRows(em, set);
  const named = request.deployment ? [request.deployment] : [];
  const deployments = [...new Set([...named, ...request.deployments])];
  if (deployments.length === 0) throw invalidArgument('deployment', 'name one that answers');
  checkMetrics(request.metrics, rows, draft, (i) => `metrics[${i}]`);
  const metrics = request.metrics.length > 0 ? request.metrics : defaultMetrics(rows, draft);
  requireRenderable({ draft, parts }, rows, maxLength, testSetRef(set));
  const evaluation = create(EvaluationSchema, {
    deployments,
    metrics,
    concurrency: request.concurrency || DEFAULT_CONCURRENCY,
    progress: { total: rows.length * deployments.length, remainingSeconds: -1 },
    ...(request.sampling ? { sampling: request.sampling } : {}),
  });
  const { tenant, name } = version;
  return insertJob(em, {
    ...{ tenant, kind: 'evaluation', name, version: version.version, author },
    content: writeEvaluation(evaluation),
    testSet: testSetRef(set),
    testSetDigest: set.digest,
  });
}

/** @throws LandfallError FAILED_PRECONDITION naming rows and variables */
export function requireRenderable(
  { draft, parts }: Contents,
  rows: readonly TestSetRow[],
  maxLength: number,
  ref: string,
): void {
  const problems: string[] = [];
  let wrong = 0;
  for (const [i, row] of rows.entries()) {
    try {
      render(draft, row.variables ?? {}, maxLength, parts);
    } catch (error) {
      if (!(error instanceof LandfallError)) throw error;
      wrong++;
      if (problems.length < TOLD) problems.push(`row ${i}: ${error.message}`);
    }
  }
  if (wrong === 0) return;
  const more = wrong > TOLD ? `; and ${wrong - TOLD} more rows` : '';
  throw failedPrecondition(`${ref} does not fit the prompt: ${problems.join('; ')}${more}`, {
    reason: 'ROWS_DO_NOT_FIT',
  });
}
