import { aborted, failedPrecondition, type LandfallError, notFound } from '@landfall/common/errors/errors.ts';
import type { CheckedRows } from './engine/data/check.ts';

/** Rows that an error names; the whole report comes from PrepareDataset. */
const ROWS_NAMED = 20;

export const jobNotFound = (id: string): LandfallError =>
  notFound(`there is no job '${id}'; ListJobs lists them`, { reason: 'JOB_NOT_FOUND', metadata: { id } });

export const notReady = (ref: string): LandfallError =>
  failedPrecondition(`${ref} is still a draft; commit it with CommitVersion first`, {
    reason: 'VERSION_NOT_READY',
  });

export const wrongKind = (ref: string, kind: string, wanted: string): LandfallError =>
  failedPrecondition(`${ref} is ${kind} and not ${wanted}`, { reason: 'WRONG_KIND' });

export const noDeployment = (base: string): LandfallError =>
  failedPrecondition(
    `an evaluation is asked for, and no deployment serves ${base}; deploy it with BalancerService.Deploy, or leave ` +
      'evaluation.dataset empty',
    { reason: 'BASE_NOT_DEPLOYED' },
  );

export const staleAttempt = (id: string): LandfallError =>
  aborted(`a newer attempt has the job ${id}`, { reason: 'STALE_ATTEMPT' });

export const jobHasEnded = (id: string, state: string): LandfallError =>
  failedPrecondition(`the job ${id} has ended: ${state}`, { reason: 'JOB_HAS_ENDED' });

/** A data set whose rows can't be used: which ones, by number from 1, and why. */
export const badRows = (
  ref: string,
  why: string,
  { report }: Pick<CheckedRows, 'report'>,
  hint: string,
): LandfallError =>
  failedPrecondition(`${ref}: ${why}: ${report.summary(ROWS_NAMED)}${hint ? `; ${hint}` : ''}`, {
    reason: 'BAD_ROWS',
    fieldViolations: report.issues.slice(0, ROWS_NAMED).map(({ row, code, message }) => ({
      field: `rows[${row}]`,
      description: `${code}: ${message}`,
    })),
  });

export const planNotFound = (id: string): LandfallError =>
  notFound(`there is no tuning plan '${id}'; ListTuningPlans lists them`, {
    reason: 'PLAN_NOT_FOUND',
    metadata: { id },
  });
