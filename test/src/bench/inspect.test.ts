import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { agreementOf } from './inspect-attention.ts';
import { folderPieces, madePieces, type Piece, writePieces } from './inspect-folder.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 30));
console.info(`pieces: LANDFALL_TEST_SEED=${seed}`);
const folder = mkdtempSync(join(tmpdir(), 'landfall-pieces-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const all = async (pieces: AsyncIterable<Piece>) => {
  const found: Piece[] = [];
  for await (const piece of pieces) found.push(piece);
  return found;
};

test('a folder that was written is read as what was made', async () => {
  expect(await writePieces(folder, madePieces(4, seed))).toBe(4);
  const [read, made] = [await all(folderPieces(folder)), await all(madePieces(4, seed))];
  for (const [i, piece] of read.entries()) {
    expect({ ...piece, bytes: Buffer.from(piece.bytes) }).toEqual({
      ...made[i]!,
      bytes: Buffer.from(made[i]!.bytes),
    });
  }
});

test('a folder without a truth is refused by what it lacks', async () => {
  await expect(all(folderPieces(join(folder, 'masks')))).rejects.toThrow('has no truth.json');
});

test('attention on the defect agrees with it, attention beside it does not, even attention is chance', () => {
  const mask = new Uint8Array(40 * 20);
  mask.fill(1, 0, 5);
  const piece: Piece = {
    file: '',
    bytes: new Uint8Array(),
    defects: [{ type: 'stain', severity: 'slight', box: [0, 0, 10, 10] }],
    mask: { width: 40, height: 20, data: mask },
  };
  const of = (weights: number[]) =>
    agreementOf({ rows: 2, columns: 4, weights }, piece, 0, { width: 40, height: 20 });
  expect(of([1, 0, 0, 0, 0, 0, 0, 0])).toEqual({ points: true, within: 1, area: 1 / 8 });
  expect(of([0, 0, 0, 1, 0, 0, 0, 0])).toEqual({ points: false, within: 0, area: 1 / 8 });
  expect(of(new Array(8).fill(1 / 8)).within).toBeCloseTo(1 / 8);
});
