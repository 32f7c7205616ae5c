import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Invocation } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { ScoreSchema } from '../db/entities.ts';
import { ExperimentSubjectSchema } from '../db/experiment-entities.ts';
import { metricsOf, record } from './experiment.ts';
import { shownBy } from './experiment-metric.ts';
import { changeExperiment, decide, type Running } from './experiments.ts';
import type { LogRecord } from './invocation-log.ts';

/** Lets experiments learn from invocations that have ended, in the transaction that logs them. */
export async function observeInvocations(em: EntityManager, records: readonly LogRecord[]): Promise<void> {
  const byExperiment = Map.groupBy(
    records.filter(({ entry }) => entry.experiment !== ''),
    ({ entry }) => entry.experiment,
  );
  // In one order, so that two writers never wait for each other.
  for (const id of [...byExperiment.keys()].sort()) {
    await changeExperiment(em, { id, running: true }, async (running) => {
      for (const one of byExperiment.get(id)!) {
        if (await counts(em, running, one)) recordShown(running, one.entry);
      }
      decide(running);
    });
  }
}

/** Lets an experiment learn from a score: the first of its name that an invocation gets. Call it before the score is kept. */
export async function observeScore(
  em: EntityManager,
  entry: Invocation,
  score: { name: string; value: number },
): Promise<void> {
  if (entry.experiment === '') return;
  await changeExperiment(em, { id: entry.experiment, running: true }, async (running) => {
    const { experiment, tallies } = running;
    const invocationId = entry.id;
    if (await em.findOne(ScoreSchema, { invocationId, name: score.name })) return;
    const subject = { experimentId: experiment.id, invocationId };
    if (experiment.oncePerSubject && !(await em.findOne(ExperimentSubjectSchema, subject))) return;
    for (const [index, { kind }] of metricsOf(experiment).entries()) {
      if (kind.case === 'score' && kind.value === score.name)
        record(experiment, tallies, entry.version, index, score.value);
    }
    decide(running);
  });
}

function recordShown({ experiment, tallies }: Running, entry: Invocation): void {
  for (const [index, metric] of metricsOf(experiment).entries()) {
    const value = shownBy(metric, entry);
    if (value !== undefined) record(experiment, tallies, entry.version, index, value);
  }
}

async function counts(
  em: EntityManager,
  { experiment }: Running,
  { entry, subjectKey = '' }: LogRecord,
): Promise<boolean> {
  if (!experiment.oncePerSubject) return true;
  const key = { experimentId: experiment.id, subject: subjectKey };
  if (await em.findOne(ExperimentSubjectSchema, key)) return false;
  await em.insert(ExperimentSubjectSchema, { ...key, invocationId: entry.id });
  return true;
}
