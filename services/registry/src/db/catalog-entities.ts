import { defineEntity, p } from '@mikro-orm/core';

/** What a version's files say of it. */
export const VersionCardEntity = defineEntity({
  name: 'VersionCard',
  tableName: 'version_card',
  properties: {
    versionId: p.uuid().primary(),
    facts: p.json<Record<string, string>>(),
    readme: p.text(),
  },
});

/** A word that a version is found by; see domain/terms.ts. */
export const VersionTermEntity = defineEntity({
  name: 'VersionTerm',
  tableName: 'version_term',
  properties: {
    tenant: p.string().primary(),
    term: p.string().primary(),
    versionId: p.uuid().primary(),
  },
});

/** A tag, or a label as `key=value`. */
export const VersionTagEntity = defineEntity({
  name: 'VersionTag',
  tableName: 'version_tag',
  properties: {
    tenant: p.string().primary(),
    tag: p.string().primary(),
    versionId: p.uuid().primary(),
  },
});

export const VersionMetricEntity = defineEntity({
  name: 'VersionMetric',
  tableName: 'version_metric',
  properties: {
    versionId: p.uuid().primary(),
    metric: p.string().primary(),
    tenant: p.string(),
    value: p.double(),
  },
});

export const catalogEntities = [VersionCardEntity, VersionTermEntity, VersionTagEntity, VersionMetricEntity];
