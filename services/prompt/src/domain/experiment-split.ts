import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import { ExperimentState as State } from '@landfall/proto/landfall/prompt/v1/experiment_pb.js';
import { LabelSchema, type PromptRow, type VersionRow, VersionSchema } from '../db/entities.ts';
import { type ExperimentRow, ExperimentSchema } from '../db/experiment-entities.ts';
import { subjectKey, versionFor } from './experiment.ts';
import { changeExperiment, readExperiment } from './experiments.ts';
import { findVersion } from './find.ts';

/** A version as an invocation gets it. */
export interface Chosen {
  prompt: PromptRow;
  version: VersionRow;
  /** Label it was asked by, if it was. */
  label: string;
  /** UUID of the experiment that chose the version, if one did. */
  experiment: string;
  /** See `subjectKey`; empty without an experiment. */
  subjectKey: string;
}

/**
 * The version that an invocation renders: by number, by label, or the newest; where an experiment runs on the label, one
 * of its versions, by the subject. An experiment whose label has moved meanwhile is ended here.
 * @throws LandfallError NOT_FOUND
 */
export async function chooseVersion(
  database: Database,
  tenant: string,
  { name, version: asked, subject }: { name: string; version: string; subject: string },
): Promise<Chosen> {
  const { moved, ...chosen } = await database.read((em) => choose(em, tenant, name, asked, subject));
  if (moved) await settled(database, moved);
  return chosen;
}

async function choose(
  em: EntityManager,
  tenant: string,
  name: string,
  asked: string,
  subject: string,
): Promise<Chosen & { moved?: ExperimentRow }> {
  const found = await findVersion(em, tenant, name, asked);
  const plain = { ...found, experiment: '', subjectKey: '' };
  if (!found.label) return plain;
  const row = await em.findOne(ExperimentSchema, { tenant, name, label: found.label, running: true });
  if (!row) return plain;
  const { experiment } = readExperiment(row);
  if (experiment.arms[0]!.version !== found.version.version) return { ...plain, moved: row };
  const key = subjectKey(row.id, subject);
  const wanted = versionFor(experiment, key);
  const version =
    wanted === found.version.version
      ? found.version
      : await em.findOneOrFail(VersionSchema, { tenant, name, version: wanted });
  return { ...found, version, experiment: row.id, subjectKey: key };
}

/** An experiment as it stands now: one whose label has moved has ended. */
export async function settled(database: Database, row: ExperimentRow): Promise<ExperimentRow> {
  if (!row.running) return row;
  const { id, tenant, name, label } = row;
  const { version } = await database.read((em) => em.findOneOrFail(LabelSchema, { tenant, name, label }));
  if (readExperiment(row).experiment.arms[0]!.version === version) return row;
  return database.transaction(async (em) => {
    await endMoved(em, { tenant, name, label, version });
    return em.findOneOrFail(ExperimentSchema, { id }, { refresh: true });
  });
}

/** Ends the experiment of a label that points elsewhere than to its first version now. */
export async function endMoved(
  em: EntityManager,
  { tenant, name, label, version }: { tenant: string; name: string; label: string; version: string },
): Promise<void> {
  await changeExperiment(em, { tenant, name, label, running: true }, ({ experiment }) => {
    const { arms } = experiment;
    if (arms[0]!.version === version) return;
    const reason = `the label ${label} was moved to ${version}`;
    const isPromoted = arms.some((arm) => arm.version === version);
    if (isPromoted) Object.assign(experiment, { state: State.PROMOTED, reason, winner: version });
    else Object.assign(experiment, { state: State.RETURNED, reason, winner: '' });
  });
}
