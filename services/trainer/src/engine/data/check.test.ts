import { randomOf } from '@landfall/metrics/random.ts';
import { describe, expect, it } from 'vitest';
import { checkRows, isOnlyDuplicates } from './check.ts';
import { readRows } from './rows.ts';

const bytes = (text: string) => [new TextEncoder().encode(text)];
const file = (text: string, jsonLines = false) => ({ chunks: bytes(text), jsonLines });
const row = (question: string, answer: string) => JSON.stringify({ question, answer });

async function codes(chunks: Uint8Array[], maxRowBytes?: number) {
  const checked = await checkRows([{ chunks, jsonLines: false }], maxRowBytes ? { maxRowBytes } : {});
  const issues = checked.report.issues.map((issue) => `${issue.row} ${issue.code}`);
  return { ...checked, issues, rows: checked.examples.map((example) => example.row) };
}

describe('checkRows', () => {
  it('reads an array and lines alike, with a byte order mark or without', async () => {
    const rows = [row('甲?', '乙。'), row('a', 'b "c" \\ [],{}')];
    for (const text of [
      `[${rows.join(',\n')}]`,
      rows.join('\n'),
      `\ufeff ${rows.join('\n')}`,
      `\ufeff[${rows}]\n`,
    ]) {
      const got = await codes(bytes(text));
      expect(got.examples.map((e) => [e.row, e.question, e.answer])).toEqual([
        [1, '甲?', '乙。'],
        [2, 'a', 'b "c" \\ [],{}'],
      ]);
      expect(got.report.issues).toEqual([]);
    }
  });

  it('names each bad row by number and keeps the others', async () => {
    const lines = [
      row('a', 'b'),
      '{"question": "a", "answer": ',
      '',
      row('c', ' '),
      JSON.stringify({ question: 'd' }),
      JSON.stringify({ question: 7, answer: 'e' }),
      row('a', 'b'),
      '[1]',
      row('e', `${'\ufffd'}x`),
      row('f', 'g'),
    ];
    const expected = [
      '2 malformed_json',
      '4 empty_answer',
      '5 missing_field',
      '6 missing_field',
      '7 duplicate',
      '8 malformed_json',
      '9 encoding',
    ];
    const got = await codes(bytes(lines.join('\n')));
    expect(got.issues).toEqual(expected);
    expect(got.rows).toEqual([1, 10]);
    expect(got.report.summary()).toContain('2 malformed_json (rows 2, 8)');
    // In an array the blank line is no row.
    const array = await codes(bytes(`[${lines.filter((l) => l !== '' && !l.endsWith(': ')).join(',')}]`));
    expect(array.issues).toEqual([
      '2 empty_answer',
      '3 missing_field',
      '4 missing_field',
      '5 duplicate',
      '6 malformed_json',
      '7 encoding',
    ]);
  });

  it('reports another encoding by row', async () => {
    const gbk = Buffer.from([0xb8, 0xdf, 0xd1, 0xaa, 0xd1, 0xb9]);
    const line = Buffer.concat([Buffer.from('{"question":"'), gbk, Buffer.from('","answer":"x"}\n')]);
    expect((await codes([Buffer.from(`${row('a', 'b')}\n`), line])).issues).toEqual(['2 encoding']);
  });

  it('drops a row over the limit without holding it', async () => {
    const long = row('q', 'x'.repeat(5000));
    const got = await codes(bytes(`[${row('a', 'b')},${long},${row('c', 'd')}]`), 1000);
    expect(got.issues).toEqual(['2 too_long']);
    expect(got.rows).toEqual([1, 3]);
  });

  it('says where an array is not closed, or goes on behind its end', async () => {
    const torn = `[${row('a', 'b')},{"question":"c"`;
    expect((await codes(bytes(torn))).issues).toEqual(['2 malformed_json']);
    expect((await codes(bytes(`[${row('a', 'b')}] x`))).issues).toEqual(['2 malformed_json']);
    expect((await codes(bytes(`[${row('a', 'b')},]`))).issues).toEqual(['2 malformed_json']);
  });

  it('takes no first line that is a list for an array where the name says lines', async () => {
    const text = `["甲?","乙。"]\n${row('c', 'd')}`;
    const got = await checkRows([file(text, true)]);
    expect(got.report.issues).toMatchObject([{ row: 1, code: 'malformed_json' }]);
    expect(got.examples.map((example) => example.row)).toEqual([2]);
  });

  it('knows data that only repeats itself', async () => {
    const same = await checkRows([file(new Array(9).fill(row('a', 'b')).join('\n'))]);
    expect(isOnlyDuplicates(same)).toBe(true);
    expect(isOnlyDuplicates(await checkRows([file(row('a', 'b'))]))).toBe(false);
  });

  it('numbers rows over several files', async () => {
    const got = await checkRows([file(`${row('a', 'b')}\n\n${row('c', 'd')}`), file(row('e', ' '))]);
    expect(got.examples.map((example) => example.row)).toEqual([1, 3]);
    expect(got.report.issues).toMatchObject([{ row: 4, code: 'empty_answer' }]);
  });

  it('finds the same rows however the bytes are cut', async () => {
    const seed = BigInt(Date.now());
    console.info(`seed ${seed}`);
    const random = randomOf(seed, 'chunks');
    const content = Buffer.from(
      `\ufeff[${row('高血压,"[', '低盐\\')} , {"bad}: ${row('x', 'y')}, 17,\n${row('𠀀', '😀')}]\n`,
    );
    const collect = async (chunks: Uint8Array[]) => {
      const all: unknown[] = [];
      for await (const raw of readRows({ chunks, jsonLines: false }, 100)) all.push(raw);
      return all;
    };
    const whole = await collect([content]);
    for (let round = 0; round < 50; round++) {
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < content.length; ) {
        const size = 1 + Math.floor(random() * 9);
        chunks.push(content.subarray(at, at + size));
        at += size;
      }
      expect(await collect(chunks)).toEqual(whole);
    }
  });
});
