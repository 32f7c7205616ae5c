import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { TestSetRowSchema } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { PromptContext } from '../context.ts';
import type { VersionRow } from '../db/entities.ts';
import type { TestSetRecord } from '../db/evaluation-entities.ts';
import { loadDraft } from '../domain/draft.ts';
import { dataSetRows } from './from-data-set.ts';
import { addTestSet, findTestSet, parseTestSetRef } from './store.ts';
import { requireVisible } from './visible.ts';

/** Finds the set that a request names, in the transaction that needs it. */
export type TestSetChoice = (em: EntityManager, version: VersionRow) => Promise<TestSetRecord>;

/**
 * Reads what a `dataset` field names: `tests:/name/version`, `tests:/name`, `models:/name/version`, or '' for the
 * version's own tests. What is not in this database yet is fetched here, and becomes a test set in the transaction.
 * @throws LandfallError INVALID_ARGUMENT on `dataset`, and what the registry says
 */
export async function chooseTestSet(
  { dataSets }: PromptContext,
  dataset: string,
  call: CallContext,
): Promise<TestSetChoice> {
  const { tenant, subject } = call.identity;
  if (dataset === '') return (em, version) => ownTests(em, version, subject);
  const named = parseTestSetRef(dataset);
  if (named) {
    return async (em) => {
      const set = await findTestSet(em, tenant, named.name, named.version);
      await requireVisible(em, call.identity, set);
      return set;
    };
  }
  if (!dataset.startsWith('models:/')) {
    throw invalidArgument(
      'dataset',
      `'${dataset}' is none of tests:/name/version, tests:/name and models:/name/version`,
    );
  }
  const set = await dataSetRows(dataSets, dataset, 'dataset', call);
  return (em) => addTestSet(em, tenant, subject, { ...set, description: '' });
}

/** The tests that a version carries, as the set `NAME.tests`. */
async function ownTests(em: EntityManager, version: VersionRow, author: string): Promise<TestSetRecord> {
  const { tests } = loadDraft(version.content);
  if (tests.length === 0) {
    throw invalidArgument(
      'dataset',
      `name one: ${version.name} ${version.version} carries no tests of its own`,
    );
  }
  const rows = tests.map(({ variables, expected }) =>
    create(TestSetRowSchema, {
      ...(variables ? { variables } : {}),
      expected: expected === '' ? [] : [expected],
    }),
  );
  const source = `prompts:/${version.name}/${version.version}`;
  return addTestSet(em, version.tenant, author, {
    ...{ name: `${version.name}.tests`, description: '', source, rows },
  });
}
