import type { CallOptions } from '@landfall/common/rpc/client.ts';
import type { Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { RegistryGateway } from '../clients/registry.ts';
import { type CheckedRows, isOnlyDuplicates } from '../engine/data/check.ts';
import { checkFolder } from '../engine/data/files.ts';
import { badRows } from '../errors.ts';

/** Issues that a run leaves out by itself, or keeps; every other one must be mended first, so that nothing is lost unseen. */
const HARMLESS = new Set(['duplicate', 'repeated_image']);

/** Rows of a data set, checked; nothing is refused yet. */
export async function readRows(
  registry: RegistryGateway,
  dataset: Version,
  removeDuplicates: boolean,
  options: CallOptions,
): Promise<CheckedRows> {
  return checkFolder(await registry.folder(dataset, options), removeDuplicates);
}

/** @throws LandfallError FAILED_PRECONDITION with row numbers when there is nothing to learn from */
export function requireUsable(ref: string, checked: CheckedRows): void {
  if (checked.examples.length === 0) throw badRows(ref, 'no usable row', checked, '');
  if (isOnlyDuplicates(checked)) throw badRows(ref, 'all rows are the same', checked, '');
}

/** @throws LandfallError FAILED_PRECONDITION with row numbers when a row is broken */
export function requireClean(ref: string, checked: CheckedRows): void {
  requireUsable(ref, checked);
  const broken = [...checked.report.counts.keys()].filter((code) => !HARMLESS.has(code));
  if (broken.length > 0) {
    throw badRows(ref, 'some rows are broken', checked, 'PrepareDataset makes a version without them');
  }
}
