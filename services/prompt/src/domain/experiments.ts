import { create, fromJsonString, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { notFound } from '@landfall/common/errors/errors.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { ExperimentChangedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import {
  type Experiment,
  ExperimentSchema as ExperimentMessage,
  ExperimentReadingSchema,
  ExperimentState as State,
} from '@landfall/proto/landfall/prompt/v1/experiment_pb.js';
import { type FilterQuery, LockMode } from '@mikro-orm/core';
import { type ExperimentRow, ExperimentSchema } from '../db/experiment-entities.ts';
import { conclude, metricsOf, readingOf, type Tallies } from './experiment.ts';
import { metricName } from './experiment-metric.ts';

/** An experiment with what it has observed. */
export interface Running {
  experiment: Experiment;
  tallies: Tallies;
}

export const readExperiment = ({ content, tallies }: ExperimentRow): Running => ({
  experiment: fromJsonString(ExperimentMessage, content),
  tallies: JSON.parse(tallies) as Tallies,
});

/** For the caller: with what is known of each metric of each version. */
export function experimentReply({ experiment, tallies }: Running): Experiment {
  const metrics = metricsOf(experiment);
  const arms = experiment.arms.map((arm, i) => ({
    ...arm,
    readings: metrics.map((metric, index) =>
      create(ExperimentReadingSchema, {
        metric: metricName(metric),
        count: BigInt(tallies[i]![index]!.count),
        ...readingOf(experiment, tallies, i, index),
      }),
    ),
  }));
  return create(ExperimentMessage, { ...experiment, arms });
}

const splits = (state: State) => state === State.RUNNING || state === State.WON;

/** Writes a new experiment with its first event. */
export async function insertExperiment(em: EntityManager, tenant: string, running: Running): Promise<void> {
  const { experiment, tallies } = running;
  const { id, name, label } = experiment;
  await em.insert(ExperimentSchema, {
    ...{ id, tenant, name, label, running: true, createdMs: Date.now() },
    content: toJsonString(ExperimentMessage, experiment),
    tallies: JSON.stringify(tallies),
  });
  await announceChange(em, tenant, experiment, '', experiment.reason);
}

/**
 * Changes an experiment in the caller's transaction, one change after the other.
 * @returns undefined where there is none that fits
 */
export async function changeExperiment(
  em: EntityManager,
  where: FilterQuery<ExperimentRow>,
  change: (running: Running) => Promise<void> | void,
): Promise<Running | undefined> {
  const row = await em.findOne(ExperimentSchema, where, {
    lockMode: LockMode.PESSIMISTIC_WRITE,
    refresh: true,
  });
  if (!row) return undefined;
  const running = readExperiment(row);
  const before = { state: running.experiment.state, stopped: stoppedOf(running.experiment) };
  await change(running);
  const { experiment, tallies } = running;
  const stopped = experiment.arms.filter(
    ({ version, stoppedReason }) => stoppedReason && !before.stopped.has(version),
  );
  for (const arm of stopped) await step(em, row.tenant, experiment, arm.version, arm.stoppedReason);
  if (experiment.state !== before.state)
    await step(em, row.tenant, experiment, experiment.winner, experiment.reason);
  await em.nativeUpdate(
    ExperimentSchema,
    { id: row.id },
    {
      running: splits(experiment.state),
      content: toJsonString(ExperimentMessage, experiment),
      tallies: JSON.stringify(tallies),
    },
  );
  return running;
}

const stoppedOf = ({ arms }: Experiment) =>
  new Set(arms.filter(({ stoppedReason }) => stoppedReason).map(({ version }) => version));

/** Ends a running experiment without a winner, and says why. */
export function endExperiment({ experiment }: Running, reason: string): void {
  if (!splits(experiment.state)) return;
  Object.assign(experiment, { state: State.RETURNED, reason, winner: '' });
}

/** Draws conclusions from what has been observed. */
export function decide({ experiment, tallies }: Running): void {
  if (splits(experiment.state)) conclude(experiment, tallies);
}

async function step(
  em: EntityManager,
  tenant: string,
  experiment: Experiment,
  version: string,
  reason: string,
) {
  experiment.revision += 1n;
  experiment.changeTime = timestampFromMs(Date.now());
  await announceChange(em, tenant, experiment, version, reason);
}

function announceChange(
  em: EntityManager,
  tenant: string,
  experiment: Experiment,
  version: string,
  reason: string,
) {
  const { id, name, label, state, revision } = experiment;
  return announce(em, 'prompt', {
    subject: 'landfall.prompt.experiment.changed.v1',
    schema: ExperimentChangedSchema,
    payload: create(ExperimentChangedSchema, {
      ...{ tenant, experimentId: id, name, label, version, reason, revision },
      state: State[state].toLowerCase(),
    }),
  });
}

/** @throws LandfallError NOT_FOUND */
export async function findExperiment(em: EntityManager, tenant: string, id: string): Promise<ExperimentRow> {
  const row = await em.findOne(ExperimentSchema, { id, tenant });
  if (!row) throw experimentNotFound();
  return row;
}

export const experimentNotFound = () =>
  notFound('there is no such experiment', { reason: 'EXPERIMENT_NOT_FOUND' });
