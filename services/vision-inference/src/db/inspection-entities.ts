import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** An image in the store. Images belong to tenants by their reports alone. */
export const ImageEntity = defineEntity({
  name: 'KeptImage',
  tableName: 'image',
  properties: {
    digest: p.text().primary(),
    mediaType: p.text(),
    /** When a report last took it: what is fresh is not swept. */
    usedMs: p.bigint('number'),
  },
});
export type ImageRow = InferEntity<typeof ImageEntity>;

/** A report. */
export const ReportEntity = defineEntity({
  name: 'Report',
  tableName: 'report',
  properties: {
    /** UUIDv7: in order of time. */
    id: p.text().primary(),
    tenant: p.text(),
    /** The client's token; null for none. */
    requestId: p.text().nullable(),
    requestDigest: p.text(),
    profile: p.text(),
    profileVersion: p.integer(),
    line: p.text(),
    /** '' for none. */
    batchId: p.text(),
    defective: p.boolean(),
    /** Whether it went to people. */
    reviewed: p.boolean(),
    /** '' once the image is not kept any more. */
    imageDigest: p.text(),
    /** null keeps it. */
    imageUntilMs: p.bigint('number').nullable(),
    /** Report as ProtoJSON, without pictures. */
    content: p.text(),
    /** As the model wrote it, for explanations. */
    answer: p.text(),
    /** Spans of the reported defects in the answer, as JSON. */
    spans: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type ReportRow = InferEntity<typeof ReportEntity>;

/** A reported defect, for statistics. */
export const FindingEntity = defineEntity({
  name: 'Finding',
  tableName: 'finding',
  properties: {
    reportId: p.text().primary(),
    number: p.integer().primary(),
    tenant: p.text(),
    profile: p.text(),
    line: p.text(),
    type: p.text(),
    severity: p.integer(),
    createdMs: p.bigint('number'),
  },
});

/** A report among people. */
export const ReviewEntity = defineEntity({
  name: 'Review',
  tableName: 'review',
  properties: {
    /** UUIDv7: in order of time. */
    id: p.text().primary(),
    tenant: p.text(),
    reportId: p.text(),
    profile: p.text(),
    line: p.text(),
    model: p.text(),
    /** ReviewCause. */
    cause: p.integer(),
    decided: p.boolean(),
    twoPerson: p.boolean(),
    /** How long a claim holds. */
    claimMs: p.bigint('number'),
    /** '' for nobody. */
    claimedBy: p.text(),
    claimUntilMs: p.bigint('number'),
    decisions: p.integer(),
    /** Who decided first and second; '' for nobody yet. */
    firstReviewer: p.text(),
    secondReviewer: p.text(),
    /** The ReviewDecision that holds, as ProtoJSON; '' until it is decided. */
    content: p.text(),
    confirmed: p.boolean(),
    rawProbability: p.float(),
    weight: p.float(),
    reportedDefective: p.boolean(),
    decidedDefective: p.boolean(),
    /** That of its report. */
    createdMs: p.bigint('number'),
    decidedMs: p.bigint('number').nullable(),
    revision: p.bigint('number'),
  },
});
export type ReviewRow = InferEntity<typeof ReviewEntity>;

/** One person's word; the database refuses to change or delete it. `content` is a ReviewDecision as ProtoJSON. */
export const ReviewDecisionEntity = defineEntity({
  name: 'ReviewDecision',
  tableName: 'review_decision',
  properties: {
    reviewId: p.text().primary(),
    number: p.integer().primary(),
    tenant: p.text(),
    reviewer: p.text(),
    content: p.text(),
    createdMs: p.bigint('number'),
  },
});

export const inspectionEntities = [
  ImageEntity,
  ReportEntity,
  FindingEntity,
  ReviewEntity,
  ReviewDecisionEntity,
];
