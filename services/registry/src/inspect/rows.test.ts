import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NotAnArrayError, type Row, readJsonArray, readJsonLines } from './rows.ts';

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function collect(rows: AsyncIterable<Row>): Promise<Row[]> {
  const all: Row[] = [];
  for await (const row of rows) all.push(row);
  return all;
}

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 2 ** 31);

describe('rows', () => {
  it(`reads arrays however they are cut (seed ${seed})`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 12 }),
        fc.integer({ min: 1, max: 40 }),
        fc.constantFrom(undefined, 1, '\t'),
        async (values, chunkSize, indent) => {
          const bytes = Buffer.from(JSON.stringify(values, undefined, indent));
          const rows = await collect(readJsonArray(inChunks(bytes, chunkSize), 1 << 20));
          expect(rows.map((row) => JSON.parse((row as { text: string }).text))).toEqual(
            JSON.parse(JSON.stringify(values)),
          );
          expect(rows.map((row) => row.number)).toEqual(values.map((_, index) => index + 1));
        },
      ),
      { seed, numRuns: 200 },
    );
  });

  it(`reads lines however they are cut (seed ${seed})`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.option(fc.jsonValue({ maxDepth: 2 })), { maxLength: 12 }),
        fc.integer({ min: 1, max: 40 }),
        fc.constantFrom('\n', '\r\n'),
        async (values, chunkSize, newline) => {
          const lines = values.map((value) => (value === null ? '' : JSON.stringify(value)));
          const rows = await collect(
            readJsonLines(inChunks(Buffer.from(lines.join(newline)), chunkSize), 1 << 20),
          );
          const expected = lines.flatMap((text, index) => (text === '' ? [] : [{ number: index + 1, text }]));
          expect(rows).toEqual(expected);
        },
      ),
      { seed, numRuns: 200 },
    );
  });

  it('reports rows that are too long, empty or wrongly encoded by their number', async () => {
    const lines = Buffer.concat([
      Buffer.from('{"a":1}\n'),
      Buffer.from([0x22, 0xff, 0x22, 0x0a]),
      Buffer.from('"long row"'),
    ]);
    expect(await collect(readJsonLines(inChunks(lines, 3), 8))).toEqual([
      { number: 1, text: '{"a":1}' },
      { number: 2, problem: 'not UTF-8' },
      { number: 3, problem: 'longer than 8 bytes' },
    ]);
    expect(await collect(readJsonArray(inChunks(Buffer.from('[1,,2,]'), 2), 8))).toEqual([
      { number: 1, text: '1' },
      { number: 2, problem: 'empty' },
      { number: 3, text: '2' },
      { number: 4, problem: 'empty' },
    ]);
  });

  it.each(['', '{"a":1}', '[1,2', '[1] 2', 'null', '["a]'])('refuses %j as an array', async (text) => {
    await expect(collect(readJsonArray(inChunks(Buffer.from(text), 2), 64))).rejects.toThrow(NotAnArrayError);
  });
});
