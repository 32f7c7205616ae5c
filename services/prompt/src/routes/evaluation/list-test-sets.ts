import { afterKey, page, pageSize } from '@landfall/common/rpc/pages.ts';
import type { EvaluationRoute } from '../../context.ts';
import { TestSetEntity, type TestSetRecord } from '../../db/evaluation-entities.ts';
import { testSetReply } from '../../test-sets/store.ts';
import { isVisible } from '../../test-sets/visible.ts';

const NAME = /^[a-z0-9]+([._-][a-z0-9]+)*$/;
const NUMBER = /^[1-9]\d{0,8}$/;

export const listTestSets: EvaluationRoute<'listTestSets'> =
  ({ database }) =>
  ({ pageSize: asked, pageToken, name }, { identity }) =>
    database.read(async (em) => {
      const size = pageSize(asked);
      const { tenant } = identity;
      // What the caller may not know of is left out, so that a page may be shorter than asked for.
      const reply = async ({ rows, nextPageToken }: { rows: TestSetRecord[]; nextPageToken: string }) => {
        const visible: TestSetRecord[] = [];
        for (const row of rows) if (await isVisible(em, identity, row)) visible.push(row);
        return { testSets: visible.map(testSetReply), nextPageToken };
      };
      if (name) {
        const before = afterKey(pageToken, NUMBER);
        const where = { tenant, name, ...(before ? { number: { $lt: Number(before) } } : {}) };
        const found = await em.find(TestSetEntity, where, { orderBy: { number: 'desc' }, limit: size + 1 });
        return reply(page(found, size, (row) => String(row.number)));
      }
      const after = afterKey(pageToken, NAME) ?? '';
      const names = await em.getConnection().execute<{ name: string; number: number }[]>(
        `select name, max(number) as number from test_set where tenant = ? and name > ?
           group by name order by name limit ?`,
        [tenant, after, size + 1],
      );
      const newest = names.map(({ name: one, number }) => ({ name: one, number: Number(number) }));
      const where = { tenant, $or: newest };
      const found =
        newest.length > 0 ? await em.find(TestSetEntity, where, { orderBy: { name: 'asc' } }) : [];
      return reply(page(found, size, (row) => row.name));
    });
