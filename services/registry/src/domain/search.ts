import type { EntityManager } from '@landfall/common/db/database.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { SearchVersionsRequest } from '@landfall/proto/landfall/registry/v1/catalog_service_pb.js';
import { type Version, VersionEntity } from '../db/entities.ts';
import { cut, type Page } from './lists.ts';
import { DEFAULT_PAGE_SIZE, decodePageToken } from './page-token.ts';
import { parseReference } from './reference.ts';
import { kindName } from './replies.ts';
import { stageName } from './stage-names.ts';
import { searchTerms } from './terms.ts';

/** More words than a search has. */
const MAX_TERMS = 24;
/** `value uuid` of the last row; the value is '' where versions are sorted by age. */
const KEY = /^(-?[0-9.e+-]{1,32})? [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Behind every character of a term. */
const LAST = '\u{10FFFF}';

type Row = { id: string; value?: number | string };

/** READY versions that match, one page. Throws INVALID_ARGUMENT. */
export async function searchVersions(
  em: EntityManager,
  tenant: string,
  request: SearchVersionsRequest,
): Promise<Page<Version>> {
  const { orderByMetric, ascending, pageSize, pageToken } = request;
  const size = pageSize || DEFAULT_PAGE_SIZE;
  const filters = ['search', ...filtersOf(request)];
  const after = decodePageToken(pageToken, KEY, filters)?.split(' ');
  const query = new Conditions();
  if (orderByMetric !== '') query.add('m.tenant = ? and m.metric = ?', tenant, orderByMetric);
  query.add("v.tenant = ? and v.state = 'ready' and v.deleted_ms is null", tenant);
  addFilters(query, tenant, request);
  const direction = ascending ? 'asc' : 'desc';
  const beyond = ascending ? '>' : '<';
  const id = after?.[1];
  if (id !== undefined && orderByMetric !== '') {
    const value = Number(after![0]);
    query.add(`(m.value ${beyond} ? or (m.value = ? and v.id ${beyond} ?))`, value, value, id);
  } else if (id !== undefined) {
    query.add(`v.id ${beyond} ?`, id);
  }
  const [from, order] =
    orderByMetric === ''
      ? ['select v.id from version v', `v.id ${direction}`]
      : [
          'select v.id, m.value from version_metric m join version v on v.id = m.version_id',
          `m.value ${direction}, v.id ${direction}`,
        ];
  const sql = `${from} where ${query.sql} order by ${order} limit ${size + 1}`;
  const rows = (await em.execute(sql, query.values)) as Row[];
  const { rows: shown, nextPageToken } = cut(rows, size, (row) => `${row.value ?? ''} ${row.id}`, filters);
  const versions = await em.find(VersionEntity, { id: { $in: shown.map((row) => row.id) } });
  const byId = new Map(versions.map((version) => [version.id, version]));
  return { rows: shown.flatMap((row) => byId.get(row.id) ?? []), nextPageToken };
}

function addFilters(query: Conditions, tenant: string, request: SearchVersionsRequest): void {
  const { text, tags, base, metrics, license, showDeprecated } = request;
  const terms = searchTerms(text);
  if (terms.length > MAX_TERMS) throw invalidArgument('text', 'there are too many words; leave some out');
  for (const { term, prefix } of terms) {
    const matches = prefix ? 'term >= ? and term < ?' : 'term = ?';
    const values = prefix ? [term, `${term}${LAST}`] : [term];
    query.add(
      `v.id in (select version_id from version_term where tenant = ? and ${matches})`,
      tenant,
      ...values,
    );
  }
  for (const tag of tags) {
    const values = [tenant, tag.trim().toLowerCase()];
    query.add('v.id in (select version_id from version_tag where tenant = ? and tag = ?)', ...values);
  }
  for (const [index, { metric, min, max }] of metrics.entries()) {
    if (min === undefined && max === undefined) {
      throw invalidArgument(`metrics[${index}]`, `'${metric}' has no bound; set min, max or both`);
    }
    const bounds = [
      ...(min === undefined ? [] : ['value >= ?']),
      ...(max === undefined ? [] : ['value <= ?']),
    ];
    query.add(
      `v.id in (select version_id from version_metric where tenant = ? and metric = ? and ${bounds.join(' and ')})`,
      tenant,
      metric,
      ...[min, max].filter((bound) => bound !== undefined),
    );
  }
  if (base !== '') {
    parseReference(base, 'base');
    query.add('v.base = ?', base);
  }
  const kind = kindName(request.kind);
  if (kind) query.add('v.kind = ?', kind);
  const stage = stageName(request.stage);
  if (stage) query.add('v.stage = ?', stage);
  if (license !== '') query.add('lower(v.license) = ?', license.trim().toLowerCase());
  if (!showDeprecated) query.add('v.deprecated_ms is null');
}

/** What tells one question from another, so that a page token is not used with another one. */
function filtersOf(request: SearchVersionsRequest): unknown[] {
  const { text, tags, base, metrics, kind, stage, license, orderByMetric, ascending, showDeprecated } =
    request;
  const ranges = metrics.map(({ metric, min, max }) => [metric, min ?? null, max ?? null]);
  return [text, tags, base, ranges, kind, stage, license, orderByMetric, ascending, showDeprecated];
}

/** Conditions of a query that all must hold; values are only ever bound. */
class Conditions {
  readonly #parts: string[] = [];
  readonly values: (string | number)[] = [];

  add(condition: string, ...values: (string | number)[]): void {
    this.#parts.push(condition);
    this.values.push(...values);
  }

  get sql(): string {
    return this.#parts.join(' and ');
  }
}
