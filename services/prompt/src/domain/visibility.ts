import type { EntityManager } from '@landfall/common/db/database.ts';
import { type Identity, roleReaches } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { type FilterQuery, raw } from '@mikro-orm/core';
import { granteesOf } from './standing.ts';
import { coversFolderSql } from './targets.ts';

/**
 * A condition on rows whose `name` is a prompt's: those that the caller may know of. Undefined where that is all.
 * @returns for `$and` of a query
 */
export async function visibleTo<T extends { name: string }>(
  em: EntityManager,
  identity: Identity,
): Promise<FilterQuery<T> | undefined> {
  const { tenant, role } = identity;
  if (roleReaches(role, Role.ADMIN)) return undefined;
  const restricted = await em
    .getConnection()
    .execute(
      'select 1 as one from prompt_access where tenant = ? and restricted = true limit 1',
      [tenant],
      'all',
      em.getTransactionContext(),
    );
  if (restricted.length === 0) return undefined;
  const { sql, values } = hidden(identity);
  const key = raw((alias) => `case when ${alias}.name in (${sql}) then 1 else 0 end`, values);
  return { [key as unknown as string]: 0 } as FilterQuery<T>;
}

/**
 * Names of prompts that are restricted, themselves or by a folder, and on which the caller has no grant. Each part is a
 * set that is made once: folders are looked at, not the folders of every prompt.
 */
function hidden(identity: Identity): { sql: string; values: string[] } {
  const { tenant } = identity;
  const grantees = granteesOf(identity);
  const isRestricted = 't.tenant = ? and t.restricted = true';
  const isGranted = `t.tenant = ? and t.grantee in (${grantees.map(() => '?').join(', ')})`;
  const prompts = (table: string, where: string) => `select t.target from ${table} t where ${where}`;
  const folders = (table: string, where: string) =>
    `select f.folder from (select distinct folder from prompt where tenant = ?) f where exists (
       select 1 from ${table} t where ${where} and t.target >= 'folders/' and t.target < 'folders0'
         and ${coversFolderSql('t.target', 'f.folder')})`;
  const one = "'prompts/' || p.name";
  return {
    sql: `select p.name from prompt p where p.tenant = ?
      and (${one} in (${prompts('prompt_access', isRestricted)})
        or p.folder in (${folders('prompt_access', isRestricted)}))
      and ${one} not in (${prompts('prompt_grant', isGranted)})
      and p.folder not in (${folders('prompt_grant', isGranted)})`,
    values: [...[tenant, tenant, tenant, tenant], ...[tenant, ...grantees], ...[tenant, tenant, ...grantees]],
  };
}
