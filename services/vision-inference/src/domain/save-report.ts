import { clone, create, toJsonString } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { DefectFoundSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import {
  type Defect,
  type Report,
  ReportSchema,
  ReviewCause,
  Severity,
} from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import type { VisionContext } from '../context.ts';
import { FindingEntity, ReportEntity } from '../db/inspection-entities.ts';
import type { Judgement } from '../inspection/judge.ts';
import { countReport } from './counts.ts';
import { openReview } from './open-review.ts';
import { reportReply } from './reports.ts';

/** A report to be kept. */
export interface NewReport {
  report: Report;
  judgement: Judgement;
  spec: ProfileSpec;
  /** As the model wrote it. */
  answer: string;
  requestId: string;
  requestDigest: string;
  batchId: string;
}

const DAY_MS = 86_400_000;

/** The report that a token has brought before. @throws LandfallError INVALID_ARGUMENT where it was for another request */
export async function findByRequest(
  { database }: Pick<VisionContext, 'database'>,
  tenant: string,
  { requestId, requestDigest }: Pick<NewReport, 'requestId' | 'requestDigest'>,
): Promise<Report | undefined> {
  if (requestId === '') return undefined;
  return database.read((em) => known(em, tenant, { requestId, requestDigest }));
}

async function known(
  em: EntityManager,
  tenant: string,
  { requestId, requestDigest }: Pick<NewReport, 'requestId' | 'requestDigest'>,
): Promise<Report | undefined> {
  const row = requestId === '' ? null : await em.findOne(ReportEntity, { tenant, requestId });
  if (!row) return undefined;
  if (row.requestDigest !== requestDigest) {
    throw invalidArgument('request_id', 'was used before with other content; take a new one');
  }
  return (await reportReply(em, [row]))[0];
}

/**
 * Keeps a report in one transaction with its defects' events and, where people are asked, its review.
 * @returns the report as it is kept; that of another call with the same token where it was faster
 */
export async function saveReport(
  { database }: Pick<VisionContext, 'database'>,
  identity: Identity,
  fresh: NewReport,
): Promise<Report> {
  // Where the other one comes in between, the transaction is done again and finds it.
  return database.transaction(
    async (em) => (await known(em, identity.tenant, fresh)) ?? (await insert(em, identity, fresh)),
  );
}

async function insert(em: EntityManager, identity: Identity, fresh: NewReport): Promise<Report> {
  const { report, judgement, spec, answer, requestId, requestDigest, batchId } = fresh;
  const { tenant } = identity;
  const { id, profile, profileVersion, line, defective, imageDigest } = report;
  const createdMs = Date.now();
  const reviewed = judgement.cause !== ReviewCause.UNSPECIFIED;
  // Grids and pictures are made anew when they are asked for.
  const kept = clone(ReportSchema, report);
  for (const defect of kept.defects) delete defect.attention;
  const row = {
    ...{ id, tenant, requestId: requestId || null, requestDigest, profile, profileVersion, line, batchId },
    ...{ defective, reviewed, imageDigest, answer, createdMs },
    imageUntilMs: spec.imageDays > 0 ? createdMs + spec.imageDays * DAY_MS : null,
    content: toJsonString(ReportSchema, kept),
    spans: JSON.stringify(judgement.spans),
  };
  await em.insert(ReportEntity, row);
  for (const [number, { type, severity }] of report.defects.entries()) {
    const finding = { reportId: id, number, tenant, profile, line, type, severity, createdMs };
    await em.insert(FindingEntity, finding);
  }
  await announceDefects(em, tenant, report, report.defects, { needsReview: reviewed, foundInReview: false });
  if (reviewed) await openReview(em, identity, row, fresh);
  await countReport(em, row, report.defects);
  return (await reportReply(em, [row]))[0]!;
}

/** One event a defect, in the transaction that brings it. */
export async function announceDefects(
  em: EntityManager,
  tenant: string,
  report: Pick<Report, 'id' | 'profile' | 'line' | 'item'>,
  defects: readonly Defect[],
  by: { needsReview: boolean; foundInReview: boolean },
): Promise<void> {
  const { id: inspectionId, profile, line, item } = report;
  for (const { type, severity, confidence } of defects) {
    await announce(em, 'vision-inference', {
      subject: 'landfall.vision.defect.found.v1',
      schema: DefectFoundSchema,
      payload: create(DefectFoundSchema, {
        ...{ tenant, inspectionId, profile, line, item, type, ...by },
        severity: Severity[severity]!.toLowerCase(),
        confidence: by.foundInReview ? 1 : confidence,
      }),
    });
  }
}
