import { fromJsonString } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  type EvaluationRow,
  EvaluationRowSchema,
  type TestSetRow,
} from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { EvaluationRowEntity, type JobRow } from '../db/evaluation-entities.ts';
import { findTestSet, loadRows, parseTestSetRef } from '../test-sets/store.ts';

export const readEvaluationRow = (content: string): EvaluationRow =>
  fromJsonString(EvaluationRowSchema, content);

/** The rows of the set that an evaluation was made on. */
export async function testsOf(em: EntityManager, { tenant, testSet }: JobRow): Promise<TestSetRow[]> {
  const { name, version } = parseTestSetRef(testSet)!;
  return loadRows(em, await findTestSet(em, tenant, name, version));
}

/** All answers of one deployment of an evaluation, in order. */
export async function answersOf(em: EntityManager, jobId: string, place: number): Promise<EvaluationRow[]> {
  const rows = await em.find(EvaluationRowEntity, { jobId, place }, { orderBy: { row: 'asc' } });
  return rows.map(({ content }) => readEvaluationRow(content));
}
