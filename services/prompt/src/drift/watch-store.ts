import { create, fromJsonString, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { notFound } from '@landfall/common/errors/errors.ts';
import {
  DriftFindingsSchema,
  type DriftWatch,
  DriftWatchSchema,
} from '@landfall/proto/landfall/prompt/v1/drift_pb.js';
import { DriftWatchEntity, type DriftWatchRow } from '../db/evaluation-entities.ts';

export const DEFAULT_ALPHA = 0.01;
/** Part of the range that is no drift, where nothing else is said. */
export const DEFAULT_TOLERANCE = 0.05;

export const readWatch = ({ watch }: Pick<DriftWatchRow, 'watch'>): DriftWatch =>
  fromJsonString(DriftWatchSchema, watch);
export const writeWatch = (watch: DriftWatch): string => toJsonString(DriftWatchSchema, watch);

/** @throws LandfallError NOT_FOUND */
export async function findWatch(
  em: EntityManager,
  tenant: string,
  name: string,
  label: string,
): Promise<DriftWatchRow> {
  const row = await em.findOne(DriftWatchEntity, { tenant, name, label });
  if (!row) throw notFound(`'${label}' of prompts/${name} has no drift watch`, { reason: 'WATCH_NOT_FOUND' });
  return row;
}

/** A watch that begins now with a version. */
export function beginWatch(watch: DriftWatch, version: string, sinceMs: number): DriftWatch {
  const waitingFor = version === '' ? 'a version that holds the label' : '';
  const findings = create(DriftFindingsSchema, {
    ...{ version, waitingFor, wealth: 1 },
    since: timestampFromMs(sinceMs),
  });
  return create(DriftWatchSchema, { ...watch, findings });
}
