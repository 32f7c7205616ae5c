import {
  aborted,
  alreadyExists,
  failedPrecondition,
  type LandfallError,
  notFound,
} from '@landfall/common/errors/errors.ts';
import type { RowProblem } from './inspect/dataset.ts';

export const modelNotFound = (name: string): LandfallError =>
  notFound(`there is no model '${name}'; create it with CreateModel, or list what is there with ListModels`, {
    reason: 'MODEL_NOT_FOUND',
    metadata: { name },
  });

/** @param selector what was asked for: SemVer, `@alias`, or empty for the newest */
export const versionNotFound = (name: string, selector: string): LandfallError =>
  notFound(
    selector === ''
      ? `the model '${name}' has no READY version yet`
      : `the model '${name}' has no version '${selector}'; list what is there with ListVersions`,
    { reason: 'VERSION_NOT_FOUND', metadata: { name, version: selector } },
  );

export const fileNotFound = (ref: string, what: string): LandfallError =>
  notFound(`${ref} has no file ${what}; GetVersion lists its files`, { reason: 'FILE_NOT_FOUND' });

export const modelExists = (name: string): LandfallError =>
  alreadyExists(`a model '${name}' exists already; choose another name, or add a version to it`, {
    reason: 'MODEL_EXISTS',
  });

export const versionExists = (ref: string): LandfallError =>
  alreadyExists(`${ref} exists already; leave the version empty to take the next one`, {
    reason: 'VERSION_EXISTS',
  });

export const versionIsReady = (ref: string): LandfallError =>
  failedPrecondition(`${ref} is READY and can not change any more; create another version`, {
    reason: 'VERSION_IS_READY',
  });

export const versionIsDraft = (ref: string): LandfallError =>
  failedPrecondition(`${ref} is still a draft; commit it first`, { reason: 'VERSION_IS_DRAFT' });

export const draftIsEmpty = (ref: string): LandfallError =>
  failedPrecondition(`${ref} has no files; upload them first`, { reason: 'DRAFT_IS_EMPTY' });

export const draftChanged = (ref: string): LandfallError =>
  aborted(`the files of ${ref} changed while they were checked; commit again when the uploads are done`, {
    reason: 'DRAFT_CHANGED',
  });

export const lineageUnknown = (description: string): LandfallError =>
  failedPrecondition(`the lineage does not hold: ${description}`, { reason: 'LINEAGE_UNKNOWN' });

export const aliasMoved = (alias: string, expected: string, actual: string): LandfallError =>
  aborted(
    `the alias '${alias}' points at ${actual === '' ? 'nothing' : `'${actual}'`} and not at '${expected}'; read it ` +
      'again and decide anew',
    { reason: 'ALIAS_MOVED', metadata: { alias, version: actual } },
  );

/** The report on a data set whose rows can't be used: which rows, by number from 1, and why. */
export const badRows = (problems: readonly RowProblem[], more: boolean): LandfallError => {
  const lines = problems.map(({ path, row, problem }) =>
    row > 0 ? `${path} row ${row}: ${problem}` : path === '' ? problem : `${path}: ${problem}`,
  );
  const rest = more ? '; there may be more' : '';
  return failedPrecondition(`the data set can not be used: ${lines.join('; ')}${rest}`, {
    reason: 'BAD_ROWS',
    fieldViolations: problems.map(({ path, row, problem }) => ({
      field: row > 0 ? `${path}[${row}]` : path || 'files',
      description: problem,
    })),
  });
};
