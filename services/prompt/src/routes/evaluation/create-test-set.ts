import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import {
  type CreateTestSetRequest,
  CreateTestSetRequestSchema,
  CreateTestSetResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import type { EvaluationRoute, PromptContext } from '../../context.ts';
import { requireRight } from '../../domain/rights.ts';
import { dataSetRows } from '../../test-sets/from-data-set.ts';
import { goodRows } from '../../test-sets/good-invocations.ts';
import { parseJsonLines, rowProblems } from '../../test-sets/parse-rows.ts';
import { addTestSet, requireRows, testSetReply } from '../../test-sets/store.ts';

export const createTestSet: EvaluationRoute<'createTestSet'> = (context) => async (request, call) => {
  const { tenant, subject } = call.identity;
  const repeatable = {
    tenant,
    method: 'landfall.prompt.v1.PromptEvaluationService/CreateTestSet',
    requestId: request.requestId,
    input: CreateTestSetRequestSchema,
    output: CreateTestSetResponseSchema,
  };
  const { rows, source } = await rowsOf(context, request, call);
  const { name, description } = request;
  return context.database.transaction((em) =>
    once(em, repeatable, request, async () => {
      const set = await addTestSet(em, tenant, subject, { name, description, source, rows });
      return create(CreateTestSetResponseSchema, { testSet: testSetReply(set) });
    }),
  );
};

async function rowsOf(
  context: PromptContext,
  { source }: CreateTestSetRequest,
  call: CallContext,
): Promise<{ rows: TestSetRow[]; source: string }> {
  const { identity } = call;
  switch (source.case) {
    case 'dataset':
      return dataSetRows(context.dataSets, source.value, 'dataset', call);
    case 'invocations': {
      const wanted = source.value;
      await context.log.settled();
      const rows = await context.database.read(async (em) => {
        await requireRight(em, identity, wanted.prompt, 'viewer');
        return goodRows(em, identity.tenant, wanted);
      });
      return { rows, source: `prompts:/${wanted.prompt}` };
    }
    case 'jsonLines': {
      const { rows, problems } = parseJsonLines(source.value);
      requireRows('json_lines', rows, problems);
      return { rows, source: 'upload' };
    }
    default: {
      const rows = source.value?.rows ?? [];
      requireRows('rows', rows, rowProblems(rows));
      return { rows, source: 'upload' };
    }
  }
}
