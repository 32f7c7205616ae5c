import { sqlMigration } from '@landfall/common/db/migration.ts';
import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** A right on one resource. */
export const ResourceGrantSchema = defineEntity({
  name: 'ResourceGrant',
  tableName: 'resource_grant',
  properties: {
    tenant: p.text().primary(),
    /** `models/NAME`, `deployments/NAME` or `collections/NAME`. */
    resource: p.text().primary(),
    grantee: p.text().primary(),
    /** Role of the mesh: viewer 1, invoker 2, editor 3. */
    level: p.integer(),
    author: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type ResourceGrantRow = InferEntity<typeof ResourceGrantSchema>;

/** A resource on which grants alone count. */
export const RestrictionSchema = defineEntity({
  name: 'ResourceRestriction',
  tableName: 'resource_restriction',
  properties: { tenant: p.text().primary(), resource: p.text().primary() },
});

export const accessEntities = [ResourceGrantSchema, RestrictionSchema];

export const accessMigrations = [
  sqlMigration('gateway-resource-rights', [
    `create table resource_grant (tenant text not null, resource text not null, grantee text not null,
       level integer not null, author text not null, created_ms bigint not null,
       primary key (tenant, resource, grantee))`,
    'create table resource_restriction (tenant text not null, resource text not null, primary key (tenant, resource))',
  ]),
];
