import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { afterKey, page, pageSize } from '@landfall/common/rpc/pages.ts';
import type { EvaluationRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { EvaluationRoute } from '../../context.ts';
import { EvaluationRowEntity } from '../../db/evaluation-entities.ts';
import { requireRight } from '../../domain/rights.ts';
import { evaluationReply } from '../../evaluation/evaluation-reply.ts';
import { readEvaluationRow, testsOf } from '../../evaluation/evaluation-rows.ts';
import { findJob } from '../../jobs/job-store.ts';

const KEY = /^\d{1,3}:\d{1,9}$/;
const STEP = 500;

export const listEvaluationRows: EvaluationRoute<'listEvaluationRows'> =
  ({ database }) =>
  (request, { identity }) =>
    database.read(async (em) => {
      const { evaluationId, deployment, metric, below = 1 } = request;
      const job = await findJob(em, identity.tenant, 'evaluation', evaluationId);
      await requireRight(em, identity, job.name, 'viewer');
      const { deployments } = evaluationReply(job);
      const only = deployment ? deployments.indexOf(deployment) : undefined;
      if (only === -1) {
        throw invalidArgument('deployment', `is none of this evaluation's: ${deployments.join(', ')}`);
      }
      const size = pageSize(request.pageSize);
      const key = afterKey(request.pageToken, KEY);
      let [place, row] = key ? (key.split(':').map(Number) as [number, number]) : [0, -1];
      const fits = ({ scores }: EvaluationRow) => metric === '' || (scores[metric] ?? below) < below;
      const found: { key: string; row: EvaluationRow }[] = [];
      while (found.length <= size) {
        const behind = { $or: [{ place: { $gt: place } }, { place, row: { $gt: row } }] };
        const where = { jobId: evaluationId, ...(only === undefined ? {} : { place: only }), ...behind };
        const limit = metric ? STEP : size + 1;
        const order = { place: 'asc', row: 'asc' } as const;
        const rows = await em.find(EvaluationRowEntity, where, { orderBy: order, limit });
        for (const one of rows) {
          const read = readEvaluationRow(one.content);
          if (fits(read)) found.push({ key: `${one.place}:${one.row}`, row: read });
        }
        if (rows.length < limit) break;
        ({ place, row } = rows.at(-1)!);
      }
      const { rows, nextPageToken } = page(found.slice(0, size + 1), size, (one) => one.key);
      const tests = await testsOf(em, job);
      for (const { row: one } of rows) one.test = tests[one.row]!;
      return { rows: rows.map((one) => one.row), nextPageToken };
    });
