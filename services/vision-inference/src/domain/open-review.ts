import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { v7 as uuidv7 } from 'uuid';
import { type ReportRow, ReviewEntity, type ReviewRow } from '../db/inspection-entities.ts';
import { reviewChanged } from './review-changes.ts';
import type { NewReport } from './save-report.ts';

const CLAIM_SECONDS = 900;

/** Puts a report before people, in the transaction that keeps it. */
export async function openReview(
  em: EntityManager,
  identity: Identity,
  {
    id: reportId,
    tenant,
    profile,
    line,
    defective,
    createdMs,
  }: Pick<ReportRow, 'id' | 'tenant' | 'profile' | 'line' | 'defective' | 'createdMs'>,
  { judgement, spec, report }: Pick<NewReport, 'judgement' | 'spec' | 'report'>,
): Promise<void> {
  const row = {
    ...{ id: uuidv7(), tenant, reportId, profile, line, createdMs, model: report.model },
    ...{ cause: judgement.cause, weight: judgement.weight, rawProbability: judgement.rawProbability },
    ...{ decided: false, confirmed: false, reportedDefective: defective, decidedDefective: false },
    twoPerson: spec.review?.twoPerson ?? false,
    claimMs: (spec.review?.claimSeconds || CLAIM_SECONDS) * 1000,
    ...{ claimedBy: '', claimUntilMs: 0, decisions: 0, firstReviewer: '', secondReviewer: '' },
    ...{ content: '', decidedMs: null, revision: 1 },
  };
  await em.insert(ReviewEntity, row);
  await reviewChanged(em, identity, row as ReviewRow, 'waiting');
}
