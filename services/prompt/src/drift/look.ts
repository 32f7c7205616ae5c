import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { backgroundCall } from '@landfall/common/rpc/background-call.ts';
import { betLower } from '@landfall/metrics/betting.ts';
import { DriftFoundSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { DriftFindings, DriftWatch } from '@landfall/proto/landfall/prompt/v1/drift_pb.js';
import { OptimizePromptRequestSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { LockMode } from '@mikro-orm/core';
import type { PromptContext } from '../context.ts';
import { LabelSchema } from '../db/entities.ts';
import { DriftWatchEntity, type DriftWatchRow, JobEntity } from '../db/evaluation-entities.ts';
import { findVersion } from '../domain/find.ts';
import { evaluationReply } from '../evaluation/evaluation-reply.ts';
import { newOptimization } from '../optimization/new-optimization.ts';
import { chooseTestSet, type TestSetChoice } from '../test-sets/choose.ts';
import { liveScores } from './live-scores.ts';
import { beginWatch, DEFAULT_ALPHA, DEFAULT_TOLERANCE, readWatch, writeWatch } from './watch-store.ts';

const LOOKED_AT = 20;

/** Looks at one watch: whether its label has moved, and what the live scores say since. */
export async function look(context: PromptContext, seen: DriftWatchRow, signal: AbortSignal): Promise<void> {
  const { optimize } = readWatch(seen);
  const identity = { subject: seen.author, tenant: seen.tenant, role: Role.EDITOR };
  // What the registry must be asked for is asked before the transaction.
  const chosen =
    optimize &&
    (await failing(() => chooseTestSet(context, optimize.dataset, backgroundCall(identity, signal))));
  const started = await context.database.transaction(async (em) => {
    const { tenant, name, label } = seen;
    const where = { tenant, name, label };
    const row = await em.findOne(DriftWatchEntity, where, { lockMode: LockMode.PESSIMISTIC_WRITE });
    if (!row || row.revision !== seen.revision) return false;
    const watch = readWatch(row);
    const holder = (await em.findOne(LabelSchema, where))?.version ?? '';
    if (holder !== row.version) {
      const sinceMs = Date.now();
      Object.assign(row, { version: holder, sinceMs, foundMs: null });
      row.watch = writeWatch(beginWatch(watch, holder, sinceMs));
      row.revision++;
      await em.flush();
      return false;
    }
    if (holder === '' || row.foundMs !== null) return false;
    const drifted = await measure(em, row, watch);
    const begun = drifted ? await found(context, em, row, watch, chosen) : false;
    const text = writeWatch(watch);
    if (text !== row.watch) {
      row.watch = text;
      row.revision++;
      await em.flush();
    }
    return begun;
  });
  if (started) context.jobs.wake();
}

/** Brings the findings up to date. @returns whether there is a drift */
async function measure(em: EntityManager, row: DriftWatchRow, watch: DriftWatch): Promise<boolean> {
  const { tenant, name, version, sinceMs } = row;
  const { score, minimum, maximum, alpha } = watch;
  const findings = watch.findings!;
  const reference = watch.reference ?? (await evaluated(em, row, score));
  findings.waitingFor = '';
  if (reference === undefined) {
    findings.waitingFor = `an evaluation of ${version} with the metric ${score}`;
    return false;
  }
  findings.reference = reference;
  const bound = reference - (watch.tolerance || DEFAULT_TOLERANCE * (maximum - minimum));
  if (bound <= minimum || bound >= maximum) {
    findings.waitingFor = `a reference inside of the range: ${reference} less the tolerance is ${bound}, and the scores lie in ${minimum} to ${maximum}`;
    return false;
  }
  const scores = await liveScores(em, { tenant, name, version, score, sinceMs });
  const { most, count, mean } = betLower(scores, { bound, minimum, maximum });
  Object.assign(findings, { scores: BigInt(count), mean, wealth: most } satisfies Partial<DriftFindings>);
  return most >= 1 / (alpha || DEFAULT_ALPHA);
}

/** What the newest evaluation of the version gives for a metric, by its first deployment that has it. */
async function evaluated(
  em: EntityManager,
  { tenant, name, version }: DriftWatchRow,
  metric: string,
): Promise<number | undefined> {
  const where = { tenant, kind: 'evaluation' as const, name, version, state: 'succeeded' as const };
  const jobs = await em.find(JobEntity, where, { orderBy: { id: 'desc' }, limit: LOOKED_AT });
  for (const job of jobs) {
    const result = evaluationReply(job).results.find(({ metrics }) => metric in metrics);
    if (result) return result.metrics[metric];
  }
  return undefined;
}

/** Announces a drift, and starts the optimisation that is wished for. @returns whether one was started */
async function found(
  context: PromptContext,
  em: EntityManager,
  row: DriftWatchRow,
  watch: DriftWatch,
  chosen: TestSetChoice | LandfallError | undefined,
): Promise<boolean> {
  const { tenant, name, label, version } = row;
  const findings = watch.findings!;
  row.foundMs = Date.now();
  findings.driftTime = timestampFromMs(row.foundMs);
  if (chosen) {
    const begun = chosen instanceof LandfallError ? chosen : await begin(context, em, row, watch, chosen);
    if (begun instanceof LandfallError) {
      findings.waitingFor = `an optimisation that can be started: ${begun.message}`;
    } else findings.optimizationId = begun;
  }
  const { reference = 0, mean, scores, optimizationId } = findings;
  await announce(em, 'prompt', {
    subject: 'landfall.prompt.drift.found.v1',
    schema: DriftFoundSchema,
    payload: create(DriftFoundSchema, {
      ...{ tenant, name, label, version, score: watch.score, reference, mean, scores, optimizationId },
    }),
  });
  return optimizationId !== '';
}

function begin(
  { config }: PromptContext,
  em: EntityManager,
  { tenant, name, label, version: holder }: DriftWatchRow,
  { optimize }: DriftWatch,
  chosen: TestSetChoice,
): Promise<string | LandfallError> {
  return failing(async () => {
    const request = create(OptimizePromptRequestSchema, { ...optimize!, name, version: holder });
    const { version } = await findVersion(em, tenant, name, holder);
    const set = await chosen(em, version);
    const job = await newOptimization(em, `drift:${label}`, version, set, request, config.maxRenderedLength);
    return job.id;
  });
}

/** What `work` gives, or what it fails with where that is for people. */
async function failing<T>(work: () => Promise<T>): Promise<T | LandfallError> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof LandfallError) return error;
    throw error;
  }
}
