import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** A profile and its newest version. */
export const ProfileEntity = defineEntity({
  name: 'Profile',
  tableName: 'profile',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    version: p.integer(),
    /** Out of use; its versions stay. */
    deleted: p.boolean(),
  },
});
export type ProfileRow = InferEntity<typeof ProfileEntity>;

/** An immutable version; `content` is the ProfileSpec as ProtoJSON. */
export const ProfileVersionEntity = defineEntity({
  name: 'ProfileVersion',
  tableName: 'profile_version',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    version: p.integer().primary(),
    content: p.text(),
    author: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type ProfileVersionRow = InferEntity<typeof ProfileVersionEntity>;

/** How a model's confidences under a profile become probabilities; `content` is a Calibration as ProtoJSON. */
export const CalibrationEntity = defineEntity({
  name: 'Calibration',
  tableName: 'calibration',
  properties: {
    tenant: p.text().primary(),
    profile: p.text().primary(),
    model: p.text().primary(),
    content: p.text(),
    createdMs: p.bigint('number'),
  },
});

/** A change; the database refuses to change or delete it. */
export const AuditEntity = defineEntity({
  name: 'VisionAudit',
  tableName: 'vision_audit',
  properties: {
    /** UUIDv7: in order of time. */
    id: p.text().primary(),
    tenant: p.text(),
    subject: p.text(),
    /** `profile.put`, `review.claimed`, ... */
    action: p.text(),
    /** `profiles/NAME` or `reviews/ID`. */
    target: p.text(),
    detail: p.text(),
    createdMs: p.bigint('number'),
  },
});

export const profileEntities = [ProfileEntity, ProfileVersionEntity, CalibrationEntity, AuditEntity];
