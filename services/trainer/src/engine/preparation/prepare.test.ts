import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QUESTION, writeStripes } from '../../../test/stripes.ts';
import { checkFolder } from '../data/files.ts';
import { IssueReport } from '../data/issues.ts';
import { prepareFolder } from './prepare.ts';
import { preparationReport } from './report.ts';
import type { PreparationOptions } from './task.ts';
import { prepareInThread } from './thread.ts';

const DEMO = path.join(import.meta.dirname, '../../../../../deploy/demo/data');
const DEFAULTS: PreparationOptions = {
  keepPersonalData: false,
  keepNearDuplicates: false,
  nearDuplicateThreshold: 0.85,
  keepLengthOutliers: false,
  validationShare: 0,
  seed: 1n,
};

let folder: string;
let count = 0;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'landfall-preparation-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A folder with rows, as JSON lines or as they are. */
function data(rows: readonly (object | string)[] | string): string {
  const at = path.join(folder, `data-${count++}`);
  mkdirSync(at);
  const lines =
    typeof rows === 'string'
      ? rows
      : rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n');
  writeFileSync(path.join(at, 'rows.jsonl'), lines);
  return at;
}

function task(source: string, options: Partial<PreparationOptions> = {}, heldOut: string[] = []) {
  const output = path.join(folder, `output-${count++}`);
  mkdirSync(output);
  return {
    source: 'models:/raw/1.0.0',
    folder: source,
    heldOut: heldOut.map((at, i) => ({ ref: `models:/held-out-${i}/1.0.0`, folder: at })),
    options: { ...DEFAULTS, ...options },
    output,
  };
}

async function prepare(...of: Parameters<typeof task>) {
  const given = task(...of);
  const report = new IssueReport();
  const prepared = await prepareFolder(given, report);
  const lines = (name: string) =>
    readFileSync(path.join(given.output, name), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { question: string; answer: string; messages?: unknown });
  return {
    ...prepared,
    training: lines('training.jsonl'),
    validation: lines('validation.jsonl'),
    issues: report.first(1000).map(({ row, code }) => `${row} ${code}`),
    report,
    text: preparationReport(given, prepared, report),
  };
}

const demo = (name: string) =>
  JSON.parse(readFileSync(path.join(DEMO, name), 'utf8')) as { question: string }[];

describe('prepareFolder', () => {
  it('keeps apart what asks the same of other images, and together what shows the same one', async () => {
    const source = path.join(folder, 'stripes');
    await writeStripes(source, 6, 3n);
    cpSync(path.join(source, 'images', '0.png'), path.join(source, 'images', 'copy.png'));
    const file = path.join(source, 'rows.jsonl');
    const [first] = readFileSync(file, 'utf8').split('\n');
    appendFileSync(file, first!.replace('0.png', 'copy.png'));
    const validation = path.join(folder, 'held-out');
    await writeStripes(validation, 1, 3n);
    const { training, issues } = await prepare(source);
    expect(issues).toEqual(['7 duplicate']);
    expect(training).toHaveLength(6);
    expect(training[1]).toMatchObject({
      images: ['images/1.png'],
      // Where an image stands is no tag that cleaning takes away.
      messages: [{ content: QUESTION }, { content: 'upward' }],
    });
    expect((await prepare(source, {}, [validation])).issues).toEqual(['1 leakage', '7 duplicate']);
    const split = await prepare(source, { validationShare: 0.5 });
    expect(split.training.length + split.validation.length).toBe(6);
    expect(split.validation.length).toBeGreaterThan(0);
  });

  it('keeps the demo whole: no row is left out or changed', async () => {
    const [train, val] = [demo('medical_qa_train.json'), demo('medical_qa_val.json')];
    expect([train.length, val.length]).toEqual([290, 58]);
    const held = data(val);
    const got = await prepare(data(train), {}, [held]);
    expect(got.issues).toEqual([]);
    expect(got.training).toEqual(train);
    expect((await prepare(held)).training).toEqual(val);
    expect(got.text).toContain('Nothing had to be changed or left out');
  });

  it('does each of its steps, and names rows by number', async () => {
    const long = '每天测量血压两次,早晚各一次,并且记录下来带给医生看,坚持服药,不要自行停药或者改变剂量';
    const rows = [
      { question: '血压怎么管理?', answer: `${long}。` },
      { question: '血压 怎么管理', answer: `${long}哦!` },
      { question: '<p>流感&nbsp;怎么办</p>', answer: '多喝水\u200b,休息。' },
      { question: '电话?', answer: '打13812345678或写信给a@b.cn,证件11010519491231002X。' },
      { question: '电话?', answer: '打13912345678或写信给c@d.cn,证件11010519491231002X。' },
      { question: '<br>', answer: '空' },
      { question: '空', answer: '<p></p>' },
      'not json',
      { question: '坏', answer: '\ufffd' },
      { question: '怎样预防流感 ?', answer: '接种疫苗。' },
      { question: '服务器 10.0.0.1 是什么', answer: '内网地址' },
    ];
    const got = await prepare(data(rows), {}, [data([{ question: '怎样预防流感?', answer: '无' }])]);
    expect(got.issues).toEqual([
      '2 near_duplicate',
      '3 cleaned',
      '4 personal_data',
      '5 duplicate',
      '6 missing_field',
      '7 empty_answer',
      '8 malformed_json',
      '9 encoding',
      '10 leakage',
    ]);
    expect(got.training.slice(1)).toEqual([
      { question: '流感 怎么办', answer: '多喝水,休息。' },
      { question: '电话?', answer: '打[PHONE]或写信给[EMAIL],证件[ID_NUMBER]。' },
      { question: '服务器 10.0.0.1 是什么', answer: '内网地址' },
    ]);
    expect(Object.fromEntries(got.masked)).toEqual({ phone: 1, email: 1, id_number: 1 });
    expect([got.rowsIn, got.before.rows, got.after.rows]).toEqual([11, 9, 4]);
    expect(got.text).toContain('| 10 | leakage | its question is one of models:/held-out-0/1.0.0 |');
    expect(got.text).not.toMatch(/13812345678|a@b\.cn|11010519491231002X/);

    const kept = await prepare(data(rows.slice(0, 5)), { keepPersonalData: true, keepNearDuplicates: true });
    expect(kept.issues).toEqual(['3 cleaned']);
    expect(kept.training[3]!.answer).toContain('13812345678');
  });

  it('leaves out unusual lengths of texts, not of labels', async () => {
    const rows = Array.from({ length: 40 }, (_, i) => ({
      question: `第${i}题${'问'.repeat(10 + (i % 5))}${i * i}`,
      answer: `${'答'.repeat(20 + (i % 7))}${i * 31}`,
    }));
    const odd = {
      question: '长',
      answer: Array.from({ length: 300 }, (_, i) => String.fromCharCode(0x4e00 + i)).join(''),
    };
    const all = [...rows, odd];
    expect((await prepare(data(all), { keepNearDuplicates: true })).issues).toEqual(['41 length_outlier']);
    const kept = await prepare(data(all), { keepNearDuplicates: true, keepLengthOutliers: true });
    expect(kept.issues).toEqual([]);
    const labels = rows.map(({ question }, i) => ({
      question,
      answer: i % 4 ? '是' : '这要看具体情况而定不能一概而论',
    }));
    const got = await prepare(data(labels), { keepNearDuplicates: true });
    expect(got.issues).toEqual([]);
    expect([...got.after.classes]).toEqual([
      ['是', 30],
      ['这要看具体情况而定不能一概而论', 10],
    ]);
  });

  it('prepares conversations turn by turn', async () => {
    const turn = (role: string, content: string) => ({ role, content });
    const talk = (phone: string) => ({
      messages: [
        turn('system', '你是医生'),
        turn('user', `我的电话是${phone}<br/>`),
        turn('assistant', '好的'),
        turn('user', '谢谢'),
        turn('assistant', '不客气'),
      ],
    });
    const other = { messages: [turn('user', '谢谢'), turn('assistant', '不客气,再见')] };
    const got = await prepare(data([talk('13812345678'), talk('13912345678'), other]));
    expect(got.issues).toEqual(['1 cleaned', '1 personal_data', '2 duplicate']);
    expect(JSON.stringify(got.training[0])).toContain('我的电话是[PHONE]"');
    expect(got.training[1]).toEqual(other);
  });

  it('splits by the seed, the parts disjoint and together whole', async () => {
    const rows = demo('medical_qa_train.json');
    const source = data(rows);
    const got = await prepare(source, { validationShare: 0.1, seed: 7n });
    expect([got.trainingRows, got.validationRows]).toEqual([261, 29]);
    expect([...got.training, ...got.validation].map((row) => row.question).sort()).toEqual(
      rows.map((row) => row.question).sort(),
    );
    const again = await prepare(source, { validationShare: 0.1, seed: 7n });
    expect(again.validation).toEqual(got.validation);
    const other = await prepare(source, { validationShare: 0.1, seed: 8n });
    expect(other.validation).not.toEqual(got.validation);
  });

  it('reads nothing but rows from what it made itself', async () => {
    const at = data([{ question: 'a', answer: 'b' }]);
    writeFileSync(path.join(at, 'preparation.json'), '{\n "rowsIn": "1"\n}\n');
    writeFileSync(path.join(at, 'report.md'), '# Report');
    expect((await checkFolder(at)).rowsIn).toBe(1);
  });
});

describe('prepareInThread', () => {
  it('tells the same from its thread, with every issue in a table', async () => {
    const rows = Array.from({ length: 1500 }, (_, i) => ({
      question: `q${i}`,
      answer: i % 3 ? `a${i}` : '',
    }));
    const given = task(data(rows), { keepNearDuplicates: true });
    const result = await prepareInThread(given);
    expect(result).toMatchObject({ rowsIn: 1500, trainingRows: 1000, onlyDuplicates: false });
    expect(result.issueCounts).toEqual([['empty_answer', 500]]);
    const table = readFileSync(path.join(given.output, 'issues.csv'), 'utf8').trimEnd().split('\r\n');
    expect(table.slice(0, 2)).toEqual(['row,code,message', '1,empty_answer,"answer is empty"']);
    expect(table.length).toBe(501);
    expect(readFileSync(path.join(given.output, 'report.md'), 'utf8')).toContain('... and 300 more');
  });

  it('ends with its signal, and says what failed', async () => {
    const rows = Array.from({ length: 20_000 }, (_, i) => ({
      question: `第${i}个问题`.repeat(20),
      answer: `${i}`,
    }));
    const stop = new AbortController();
    const running = prepareInThread(task(data(rows)), stop.signal);
    setTimeout(() => stop.abort(new Error('stopped')), 100);
    await expect(running).rejects.toThrow('stopped');
    await expect(prepareInThread(task(path.join(folder, 'nothing')))).rejects.toMatchObject({
      kind: 'internal',
    });
  });
});
