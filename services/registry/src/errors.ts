import {
  aborted,
  alreadyExists,
  failedPrecondition,
  type LandfallError,
  notFound,
  permissionDenied,
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

/** Deleted versions are not there, but whoever looks for one is told how to get it back. */
export const versionIsDeleted = (version: {
  name: string;
  version: string;
  purgeMs?: number | null | undefined;
  purgedMs?: number | null | undefined;
}): LandfallError => {
  const ref = `models:/${version.name}/${version.version}`;
  const until = new Date(version.purgeMs ?? 0).toISOString();
  return notFound(
    !version.purgedMs
      ? `${ref} was deleted; RestoreVersion brings it back until ${until}`
      : `${ref} was deleted and its content is gone`,
    { reason: 'VERSION_DELETED', metadata: { name: version.name, version: version.version } },
  );
};

export const versionIsPurged = (ref: string): LandfallError =>
  failedPrecondition(`the content of ${ref} is gone and can not be brought back`, {
    reason: 'VERSION_PURGED',
  });

/** @param users what uses it, as `alias production`, `models:/x/1.0.0`, `deployments:/y` */
export const versionInUse = (ref: string, users: readonly { user: string; how: string }[]): LandfallError =>
  failedPrecondition(
    `${ref} is in use: ${users.map(({ user, how }) => `${user} (${how})`).join(', ')}; end these uses first`,
    {
      reason: 'VERSION_IN_USE',
      fieldViolations: users.map(({ user, how }) => ({ field: user, description: how })),
    },
  );

export const originsDeleted = (ref: string, origins: readonly string[]): LandfallError =>
  failedPrecondition(`${ref} was made from what is deleted; restore ${origins.join(', ')} first`, {
    reason: 'ORIGINS_DELETED',
  });

/** @param missed gates that are not passed */
export const gatesMissed = (
  ref: string,
  alias: string,
  missed: readonly { gate: string; description: string }[],
): LandfallError =>
  failedPrecondition(
    `${ref} may not carry the alias '${alias}': ${missed.map(({ description }) => description).join('; ')}`,
    {
      reason: 'GATES_MISSED',
      fieldViolations: missed.map(({ gate, description }) => ({ field: gate, description })),
    },
  );

export const aliasNotFound = (name: string, alias: string): LandfallError =>
  notFound(`the model '${name}' has no alias '${alias}'; GetModel lists those it has`, {
    reason: 'ALIAS_NOT_FOUND',
  });

export const policyNotFound = (name: string, alias: string): LandfallError =>
  notFound(
    `the alias '${alias}' ${name === '' ? '' : `of '${name}' `}has no policy of its own; ListAliasPolicies lists those there are`,
    { reason: 'POLICY_NOT_FOUND' },
  );

export const aliasIsProtected = (alias: string): LandfallError =>
  permissionDenied(`the alias '${alias}' is protected; an admin may remove it`, {
    reason: 'ALIAS_PROTECTED',
  });

export const ownApproval = (ref: string): LandfallError =>
  permissionDenied(`you created ${ref}; a second person approves it`, { reason: 'OWN_APPROVAL' });

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
