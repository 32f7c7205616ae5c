import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import {
  type AliasPolicy,
  AliasPolicySchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import { AliasPolicyEntity, type AliasPolicyRow, type StoredPolicy } from '../db/life-entities.ts';
import { policyNotFound } from '../errors.ts';
import { findModel } from './find.ts';
import { cut, type Page, type PageRequest } from './lists.ts';
import { DEFAULT_PAGE_SIZE, decodePageToken } from './page-token.ts';
import { stageName, stageValue } from './stage-names.ts';

/** What an alias of a model asks for: the model's own policy, else the tenant's, else undefined. */
export async function policyOf(
  em: EntityManager,
  tenant: string,
  name: string,
  alias: string,
): Promise<StoredPolicy | undefined> {
  const rows = await em.find(AliasPolicyEntity, { tenant, alias, name: { $in: [name, ''] } });
  return (rows.find((row) => row.name === name) ?? rows[0])?.policy;
}

/** Stores a policy in place of the one before. Throws NOT_FOUND for a model that is none, INVALID_ARGUMENT. */
export async function setPolicy(
  em: EntityManager,
  tenant: string,
  policy: AliasPolicy,
): Promise<AliasPolicyRow> {
  const { name, alias, metrics, checks, licenses, approvals, minStage } = policy;
  if (name !== '') await findModel(em, tenant, name);
  metrics.forEach(({ metric, min, max }, index) => {
    const field = `policy.metrics[${index}]`;
    if (min === undefined && max === undefined) {
      throw invalidArgument(field, `'${metric}' has no bound; set min, max or both`);
    }
    if (min !== undefined && max !== undefined && min > max) {
      throw invalidArgument(field, `no value of '${metric}' is at least ${min} and at most ${max}`);
    }
  });
  const stored: StoredPolicy = {
    metrics: metrics.map(({ metric, min, max }) => ({
      metric,
      ...(min !== undefined && { min }),
      ...(max !== undefined && { max }),
    })),
    checks,
    licenses,
    approvals,
    minStage: stageName(minStage) ?? '',
  };
  const row = { tenant, name, alias, policy: stored };
  await em.upsert(AliasPolicyEntity, row);
  return row as AliasPolicyRow;
}

/** Throws NOT_FOUND where there is none. */
export async function removePolicy(
  em: EntityManager,
  tenant: string,
  name: string,
  alias: string,
): Promise<void> {
  const removed = await em.nativeDelete(AliasPolicyEntity, { tenant, name, alias });
  if (removed === 0) throw policyNotFound(name, alias);
}

/** `name alias` of the last row of a page. */
const KEY = /^[a-z0-9._-]{0,64} [a-z][a-z0-9_-]{0,63}$/;

/** Policies by model name and alias: all of the tenant, or those that hold for a model. */
export async function listPolicies(
  em: EntityManager,
  tenant: string,
  name: string,
  page: PageRequest,
): Promise<Page<AliasPolicyRow>> {
  const filters = ['policies', name];
  const after = decodePageToken(page.pageToken, KEY, filters)?.split(' ') as [string, string] | undefined;
  const size = page.pageSize || DEFAULT_PAGE_SIZE;
  if (name !== '') await findModel(em, tenant, name);
  const own = name === '' ? [] : await em.find(AliasPolicyEntity, { tenant, name }, { fields: ['alias'] });
  const where = [
    { tenant },
    // The tenant's policy for an alias does not hold where the model has its own.
    ...(name === ''
      ? []
      : [{ $or: [{ name }, { name: '', alias: { $nin: own.map(({ alias }) => alias) } }] }]),
    ...(after ? [{ $or: [{ name: { $gt: after[0] } }, { name: after[0], alias: { $gt: after[1] } }] }] : []),
  ];
  const orderBy = [{ name: 'asc' as const }, { alias: 'asc' as const }];
  const rows = await em.find(AliasPolicyEntity, { $and: where }, { orderBy, limit: size + 1 });
  return cut(rows, size, (row) => `${row.name} ${row.alias}`, filters);
}

export function policyReply({ name, alias, policy }: AliasPolicyRow): AliasPolicy {
  const { metrics, checks, licenses, approvals, minStage } = policy;
  return create(AliasPolicySchema, {
    name,
    alias,
    metrics,
    checks,
    licenses,
    approvals,
    ...(minStage !== '' && { minStage: stageValue(minStage) }),
  });
}
