import { afterKey, page, pageSize } from '@landfall/common/rpc/pages.ts';
import type { EvaluationRoute } from '../../context.ts';
import { TestSetRowEntity } from '../../db/evaluation-entities.ts';
import { findTestSet, readRow } from '../../test-sets/store.ts';
import { requireVisible } from '../../test-sets/visible.ts';

const ROW = /^\d{1,9}$/;
const STEP = 500;

export const listTestSetRows: EvaluationRoute<'listTestSetRows'> =
  ({ database }) =>
  (request, { identity }) =>
    database.read(async (em) => {
      const size = pageSize(request.pageSize);
      const { tenant } = identity;
      const set = await findTestSet(em, tenant, request.name, request.version);
      await requireVisible(em, identity, set);
      const { name, version } = set;
      const found: { number: number; row: ReturnType<typeof readRow> }[] = [];
      let after = Number(afterKey(request.pageToken, ROW) ?? -1);
      while (found.length <= size) {
        const where = { tenant, name, version, row: { $gt: after } };
        const limit = request.tag ? STEP : size + 1;
        const rows = await em.find(TestSetRowEntity, where, { orderBy: { row: 'asc' }, limit });
        for (const { row: number, content } of rows) {
          const row = readRow(content);
          if (!request.tag || row.tags.includes(request.tag)) found.push({ number, row });
        }
        if (rows.length < limit) break;
        after = rows.at(-1)!.row;
      }
      const { rows, nextPageToken } = page(found.slice(0, size + 1), size, ({ number }) => String(number));
      return { rows: rows.map(({ row }) => row), numbers: rows.map(({ number }) => number), nextPageToken };
    });
