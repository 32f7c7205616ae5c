import { readFileSync } from 'node:fs';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failure } from './calls.ts';
import { editor, startMesh, type TestMesh } from './mesh.ts';

const DEMO = path.join(import.meta.dirname, '../../../deploy/demo/data');
const demo = (name: string) => JSON.parse(readFileSync(path.join(DEMO, name), 'utf8')) as object[];

let mesh: TestMesh | undefined;
beforeAll(async () => {
  mesh = await startMesh();
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const nameAndVersion = (ref: string) => {
  const [name, version] = ref.replace('models:/', '').split('/');
  return { name: name!, version: version! };
};

/** A file of a version, as anyone downloads it. */
async function download(ref: string, file: string): Promise<string> {
  const parts: Uint8Array[] = [];
  const request = { ...nameAndVersion(ref), path: file };
  for await (const { chunk } of mesh!.registry.downloadArtifact(request)) parts.push(chunk);
  return Buffer.concat(parts).toString();
}
const rowsOf = async (ref: string) =>
  (await download(ref, 'data.jsonl'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { question: string; answer: string });

const MESSY = [
  { question: '张三的电话?', answer: '请打 13812345678。' },
  { question: '<b>低盐</b>&nbsp;饮食?', answer: '每天不超过五克。' },
  { question: '张三的电话?', answer: '请打 13912345678。' },
  { question: '怎样预防流感?', answer: '接种疫苗。' },
  { question: '坏', answer: '\ufffd' },
  { question: '空', answer: '' },
  ...Array.from({ length: 20 }, (_, i) => ({ question: `第 ${i} 问?`, answer: `第 ${i * 7} 答。` })),
];

describe('PrepareDataset', () => {
  it('masks, cleans, de-duplicates and splits; the reports can be downloaded', async (t) => {
    if (!mesh) return t.skip();
    const raw = await mesh.dataset('messy', MESSY);
    const held = await mesh.dataset('messy-held-out', [{ question: '怎样预防流感', answer: '无' }]);
    const request = {
      dataset: raw,
      options: { validationShare: 0.2, seed: 3n, validationDatasets: [held] },
    };
    const dry = await mesh.trainer.prepareDataset({ ...request, dryRun: true });
    expect(dry).toMatchObject({ dataset: '', validationDataset: '', rowsIn: 26n, rowsOut: 22n });
    expect((await failure(mesh.registry.getModel({ name: 'messy-validation' }))).code).toBe(status.NOT_FOUND);

    const prepared = await mesh.trainer.prepareDataset(request);
    expect(prepared).toMatchObject({ rowsIn: 26n, rowsOut: 22n, validationRows: 4n });
    expect(prepared.issues.map(({ row, code }) => `${row} ${code}`)).toEqual([
      '1 personal_data',
      '2 cleaned',
      '3 duplicate',
      '4 leakage',
      '5 encoding',
      '6 empty_answer',
    ]);
    expect(prepared.issueCounts).toEqual({
      personal_data: 1n,
      cleaned: 1n,
      duplicate: 1n,
      leakage: 1n,
      encoding: 1n,
      empty_answer: 1n,
    });
    expect(prepared.statistics).toMatchObject({
      before: { rows: 24n, distinctAnswers: 24n },
      after: { rows: 22n, question: { min: 6n } },
      masked: { phone: 1n },
    });
    expect(prepared.dataset).toMatch(/^models:\/messy\/1\.\d+\.0$/);
    expect(prepared.validationDataset).toBe('models:/messy-validation/1.0.0');

    const [training, validation] = await Promise.all([
      rowsOf(prepared.dataset),
      rowsOf(prepared.validationDataset),
    ]);
    expect([training.length, validation.length]).toEqual([18, 4]);
    const questions = [...training, ...validation].map(({ question }) => question);
    expect(new Set(questions).size).toBe(22);
    expect(questions).toContain('低盐 饮食?');
    const all = JSON.stringify([training, validation]);
    expect(all).toContain('请打 [PHONE]。');

    for (const ref of [prepared.dataset, prepared.validationDataset]) {
      const report = await download(ref, 'report.md');
      expect(report).toBe(prepared.report);
      const figures = JSON.parse(await download(ref, 'preparation.json')) as Record<string, unknown>;
      expect(figures).toMatchObject({ dataset: prepared.dataset, rowsIn: '26', rowsOut: '22' });
      const issues = await download(ref, 'issues.csv');
      expect(issues.trimEnd().split('\r\n').length).toBe(7);
      expect(all + report + JSON.stringify(figures) + issues).not.toMatch(/1[38]\d{9}/);
      const { version } = await mesh.registry.getVersion(nameAndVersion(ref));
      expect(version!.kind).toBe(Kind.DATASET);
      expect(version!.lineage!.datasets).toMatchObject([{ ref: raw, role: 'raw' }]);
    }
    // Its own reports are no rows: what is prepared can be prepared again, and nothing is left to do.
    const again = await mesh.trainer.prepareDataset({ dataset: prepared.dataset });
    expect(again).toMatchObject({ rowsIn: 18n, rowsOut: 18n, issues: [] });
  });

  it('finds the same versions on a repeat, and makes others for another way', async (t) => {
    if (!mesh) return t.skip();
    const { trainer } = mesh;
    const dataset = await mesh.dataset('repeated', MESSY);
    const options = { validationShare: 0.1, seed: 1n };
    const first = await trainer.prepareDataset({ dataset, options });
    expect(await trainer.prepareDataset({ dataset, options })).toEqual(first);
    const [same, also] = await Promise.all([1, 2].map(() => trainer.prepareDataset({ dataset, options })));
    expect([same, also]).toEqual([first, first]);
    await mesh.restartControl();
    expect(await trainer.prepareDataset({ dataset, options })).toEqual(first);
    const defaults = { ...options, nearDuplicateThreshold: 0.85 };
    expect((await trainer.prepareDataset({ dataset, options: defaults })).dataset).toBe(first.dataset);

    const others = [
      { dataset, options: { ...options, seed: 2n } },
      { dataset, options: { ...options, keepPersonalData: true } },
      { dataset, options, requestId: 'another' },
      { dataset },
    ];
    const seen = new Set([first.dataset]);
    for (const other of others) seen.add((await trainer.prepareDataset(other)).dataset);
    expect(seen.size).toBe(5);
    const kept = await trainer.prepareDataset(others[1]!);
    expect(JSON.stringify(await rowsOf(kept.dataset))).toContain('13812345678');
  });

  it('keeps the demo whole', async (t) => {
    if (!mesh) return t.skip();
    const val = await mesh.dataset('demo-validation-set', demo('medical_qa_val.json'));
    const train = await mesh.dataset('demo', demo('medical_qa_train.json'));
    const got = await mesh.trainer.prepareDataset({ dataset: train, options: { validationDatasets: [val] } });
    expect(got).toMatchObject({ rowsIn: 290n, rowsOut: 290n, issues: [], validationDataset: '' });
    expect(await rowsOf(got.dataset)).toEqual(demo('medical_qa_train.json'));
    const alone = await mesh.trainer.prepareDataset({ dataset: val });
    expect(alone).toMatchObject({ rowsIn: 58n, rowsOut: 58n, issues: [] });
  });

  it('refuses what leaves nothing to learn, and makes no version of it', async (t) => {
    if (!mesh) return t.skip();
    const { trainer, registry } = mesh;
    const broken = await mesh.dataset('all-broken', [{ question: '空', answer: '<p></p>' }, { question: 1 }]);
    const refusal = await failure(trainer.prepareDataset({ dataset: broken }));
    expect(refusal).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'BAD_ROWS' });
    expect(refusal.fieldViolations.map(({ field }) => field)).toEqual(['rows[1]', 'rows[2]']);
    const same = await mesh.dataset('all-same', [
      { question: '电话', answer: '13812345678' },
      { question: '电话', answer: '13912345678' },
    ]);
    expect((await failure(trainer.prepareDataset({ dataset: same }))).reason).toBe('BAD_ROWS');
    for (const name of ['all-broken', 'all-same']) {
      expect((await registry.listVersions({ name })).versions.length).toBe(1);
    }
  });

  it('refuses wrong options, other kinds, and callers without the right', async (t) => {
    if (!mesh) return t.skip();
    const { trainer } = mesh;
    const dataset = await mesh.dataset('refused', MESSY);
    const prepare = (options: object) => failure(trainer.prepareDataset({ dataset, options }));
    expect((await prepare({ validationShare: 1 })).code).toBe(status.INVALID_ARGUMENT);
    expect((await prepare({ validationShare: Number.NaN })).code).toBe(status.INVALID_ARGUMENT);
    expect((await prepare({ nearDuplicateThreshold: 1.5 })).code).toBe(status.INVALID_ARGUMENT);
    expect((await prepare({ validationDatasets: ['../x'] })).code).toBe(status.INVALID_ARGUMENT);
    expect((await prepare({ validationDatasets: ['models:/nobody/1.0.0'] })).code).toBe(status.NOT_FOUND);
    const base = await mesh.base('tiny');
    expect((await prepare({ validationDatasets: [base] })).code).toBe(status.FAILED_PRECONDITION);
    await mesh.registry.createModel({ name: 'refused-validation', kind: Kind.BASE });
    expect((await prepare({ validationShare: 0.1 })).reason).toBe('WRONG_KIND');
    const long = await mesh.dataset('n'.repeat(60), MESSY);
    const named = await failure(trainer.prepareDataset({ dataset: long, options: { validationShare: 0.1 } }));
    expect(named).toMatchObject({ code: status.INVALID_ARGUMENT, fieldViolations: [{ field: 'dataset' }] });
    const as = (identity: typeof editor) => failure(trainer.prepareDataset({ dataset }, { identity }));
    expect((await as({ ...editor, role: Role.VIEWER })).code).toBe(status.PERMISSION_DENIED);
    expect((await as({ ...editor, tenant: 'other' })).code).toBe(status.NOT_FOUND);
  });

  it('ends with its caller', async (t) => {
    if (!mesh) return t.skip();
    const rows = Array.from({ length: 20_000 }, (_, i) => ({
      question: `第${i}问`.repeat(9),
      answer: `${i}`,
    }));
    const dataset = await mesh.dataset('large', rows);
    const late = await failure(mesh.trainer.prepareDataset({ dataset }, { timeoutMs: 400 }));
    expect(late.code).toBe(status.DEADLINE_EXCEEDED);
    // Its place is free again.
    const small = await mesh.dataset('small', MESSY);
    const calls = Array.from({ length: 6 }, (_, i) =>
      mesh!.trainer.prepareDataset({ dataset: small, dryRun: true, options: { seed: BigInt(i) } }),
    );
    for (const { rowsOut } of await Promise.all(calls)) expect(rowsOut).toBe(23n);
  });
});
