import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import { type TestSetRow, TestSetRowSchema } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { GoodInvocations } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import { ListInvocationsRequestSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { readEntry } from '../domain/invocation-log.ts';
import { searchInvocations } from '../domain/invocation-search.ts';
import { sortedJson } from './store.ts';

const PAGE = 500;
const DEFAULT_ROWS = 1000;

/**
 * Rows of logged invocations whose score is good, the newest first: their answers become the expected ones.
 * @throws LandfallError FAILED_PRECONDITION where there are none
 */
export async function goodRows(
  em: EntityManager,
  tenant: string,
  wanted: GoodInvocations,
): Promise<TestSetRow[]> {
  const { prompt, version, score, minimum } = wanted;
  const most = wanted.maxRows || DEFAULT_ROWS;
  const request = create(ListInvocationsRequestSchema, {
    ...{ name: prompt, version, error: '-' },
    score: { name: score, minimum },
  });
  const seen = new Set<string>();
  const rows: TestSetRow[] = [];
  let before: string | undefined;
  while (rows.length < most) {
    const found = await searchInvocations(em, tenant, request, before, PAGE);
    for (const { entry } of found) {
      const { variables, output } = readEntry(entry);
      const key = variables && sortedJson(variables);
      // What was logged before variables were can't be asked again.
      if (!key || output === '' || seen.has(key) || rows.length === most) continue;
      seen.add(key);
      rows.push(create(TestSetRowSchema, { variables, expected: [output] }));
    }
    if (found.length < PAGE) break;
    before = found.at(-1)!.id;
  }
  if (rows.length > 0) return rows;
  throw failedPrecondition(
    `no logged invocation of '${prompt}' has an answer, its variables and a score '${score}' of at least ${minimum}`,
    { reason: 'NO_GOOD_INVOCATIONS' },
  );
}
