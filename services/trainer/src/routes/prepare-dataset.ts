import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import { Kind, LineageSchema, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { RowIssueSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { Route, TrainerContext } from '../context.ts';
import { readRows, requireUsable } from '../domain/training-data.ts';
import type { Example } from '../engine/data/check.ts';

export const prepareDataset: Route<'prepareDataset'> = (service) => async (request, context) => {
  const raw = await service.registry.ready(request.dataset, Kind.DATASET, 'dataset', { context });
  const checked = await readRows(service.registry, raw, true, { context });
  requireUsable(raw.ref, checked);
  const dataset = request.dryRun
    ? ''
    : await commitPrepared(service, raw, checked.examples, request.requestId, { context });
  return {
    dataset,
    rowsIn: BigInt(checked.rowsIn),
    rowsOut: BigInt(checked.examples.length),
    issues: checked.report.issues.map(({ row, code, message }) =>
      create(RowIssueSchema, { row: BigInt(row), code, message }),
    ),
    issueCounts: Object.fromEntries([...checked.report.counts].map(([code, n]) => [code, BigInt(n)])),
  };
};

/** The usable rows as JSON lines, in a version of the same data set; the same raw version gives the same one again. */
async function commitPrepared(
  { registry }: TrainerContext,
  raw: Version,
  examples: readonly Example[],
  requestId: string,
  options: CallOptions,
): Promise<string> {
  const lines = examples.map(({ question, answer }) => `${JSON.stringify({ question, answer })}\n`);
  const content = Buffer.from(lines.join(''));
  const key = createHash('sha256').update(`${raw.digest}/${requestId}`).digest('hex').slice(0, 32);
  const lineage = create(LineageSchema, {
    datasets: [{ ref: raw.ref, digest: raw.digest, role: 'raw' }],
  });
  const draft = await registry.draft(
    raw.name,
    `prepare-${key}`,
    `prepared from ${raw.ref}`,
    lineage,
    options,
  );
  const known = await registry.version(`models:/${raw.name}/${draft.version}`, 'dataset', options);
  // A repeat finds the version that the first call has committed.
  if (known.digest !== '') return known.ref;
  await registry.upload(draft, { path: 'data.jsonl', content }, options);
  const rows = examples.length;
  const committed = await registry.commit(draft, `prepare-commit-${key}`, { rows }, lineage, options);
  return committed.ref;
}
