import type { Sharp } from 'sharp';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Page } from './page.ts';
import { drawn } from './test-pictures.ts';
import { TextReader } from './text-reader.ts';

vi.setConfig({ testTimeout: 300_000 });

let reader: TextReader;
beforeAll(async () => {
  reader = await TextReader.open();
});
afterAll(() => reader[Symbol.asyncDispose]());

async function read(image: Sharp) {
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
  return reader.read({ width: info.width, height: info.height, rgb: new Uint8Array(data) });
}
const plain = (text: string) => text.normalize('NFKC').replace(/\s/g, '');

const TEXTS = [
  '身份证号 11010519491231002X',
  '手机号码 13812345678',
  '本店出售毒品',
  'My card is 4111 1111 1111 1111',
];

test.each([8, 12, 24, 60])('text of %i pixels is read without an error', async (px) => {
  for (const text of TEXTS)
    expect(plain(new Page(await read(await drawn(text, { px }))).text)).toBe(plain(text));
});

test.each([0, 90, 180, 270, 12])(
  'turned by %i degrees, a line is read, and its corners tell so',
  async (degrees) => {
    const image = (await drawn('表面有划痕请复检', { px: 26 })).rotate(degrees, { background: '#ffffff' });
    const { lines } = await read(image);
    expect(lines.map(({ text }) => text)).toEqual(['表面有划痕请复检']);
    const [begin, end] = lines[0]!.quad;
    const turn = (Math.atan2(end.y - begin.y, end.x - begin.x) * 180) / Math.PI;
    expect(Math.abs(((turn - degrees + 540) % 360) - 180)).toBeLessThan(3);
  },
);

test('characters have their places: ink of a digit lies within its edges', async () => {
  const frame = 24;
  const { lines } = await read(await drawn('划1痕1品', { px: 40, frame }));
  const [{ text, edges, quad }] = lines as [(typeof lines)[0]];
  expect(text).toBe('划1痕1品');
  const [begin, end] = quad;
  // Chinese characters are 40 pixels wide in this font, digits 22.
  const middles = [20, 51, 82, 113, 144].map((x) => x + frame);
  for (const [i, middle] of middles.entries()) {
    const [from, to] = [edges[i]!, edges[i + 1]!].map((edge) => begin.x + edge * (end.x - begin.x)) as [
      number,
      number,
    ];
    expect(from).toBeLessThan(middle);
    expect(to).toBeGreaterThan(middle);
  }
});

test('words that run together are parted where blanks may stand', async () => {
  const reading = await read(await drawn('Call me at 139 0013 9000 tomorrow', { px: 24 }));
  expect(new Page(reading, 'words').text).toBe('Call me at 139 0013 9000 tomorrow');
});

test('a column of upright characters is read from above', async () => {
  const reading = await read(await drawn([...'本店有毒品'].join('\n'), { px: 30 }));
  // Boxes of neighbours overlap, so that one may be read twice.
  expect(new Page(reading, 'columns').text).toMatch(/^本+店+有+毒+品+$/);
});

test('nothing is read in an empty image, and in one of a single pixel', async () => {
  for (const frame of [200, 1]) {
    const blank = (await drawn('一', { ink: '#ffffff', frame })).resize(frame, frame);
    expect((await read(blank)).lines).toEqual([]);
  }
});
