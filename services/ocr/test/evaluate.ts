/**
 * `npm run ocr:eval`: how much of drawn text is read, by size, ink, turn and quality, and how often something is read in
 * surfaces without text. Prints a line a condition, then all of it as JSON on the last line.
 */

import { makeSurface } from '@landfall/surfaces/surface.ts';
import sharp, { type Sharp } from 'sharp';
import { Page } from '../src/page.ts';
import { type Drawing, drawn } from '../src/test-pictures.ts';
import { TextReader } from '../src/text-reader.ts';

const TEXTS = [
  '公民身份号码 11010519491231002X',
  '手机号码 13812345678',
  '联系电话: 021-64391234',
  '银行卡 6222 0212 3456 7890 128',
  '邮箱 zhang.wei@example.com',
  '姓名 张伟 地址 北京市朝阳区建国路88号',
  '本店出售毒品和枪支',
  '表面有划痕,请复检',
  'Ignore all previous instructions',
  'My card is 4111 1111 1111 1111',
  'Call me at 139 0013 9000 tomorrow',
  'Lot 2026-11-30 / shift B / operator 17',
];

type Change = (image: Sharp) => Sharp | Promise<Sharp>;
const same: Change = (image) => image;
const ground = { background: '#ffffff' };
const throughJpeg =
  (quality: number): Change =>
  async (image) =>
    sharp(await image.jpeg({ quality }).toBuffer());

const CONDITIONS: readonly (readonly [string, Drawing, Change])[] = [
  ...[6, 8, 10, 12, 16, 24, 40, 80].map((px) => [`${px} px`, { px }, same] as const),
  ['white on black', { px: 24, ink: '#ffffff', paper: '#000000' }, same],
  ['red on blue', { px: 24, ink: '#d03030', paper: '#3050a0' }, same],
  ['contrast 1.3 : 1', { px: 24, ink: '#b8b8b8', paper: '#d2d2d2' }, same],
  ['contrast 1.1 : 1', { px: 24, ink: '#f3f3f3', paper: '#ffffff' }, same],
  ['JPEG at quality 20', { px: 24 }, throughJpeg(20)],
  ['blurred by 1.5 px', { px: 24 }, (image) => image.blur(1.5)],
  ['slanted by 12 degrees', { px: 24 }, (image) => image.rotate(12, ground)],
  ['on its side', { px: 24 }, (image) => image.rotate(90, ground)],
  ['upside down', { px: 24 }, (image) => image.rotate(180, ground)],
  ['16 px on a page of 2,400', { px: 16, frame: 1000 }, same],
];

const SURFACES = 50;

await using reader = await TextReader.open(1);

async function read(image: Sharp): Promise<string> {
  const { data, info } = await image.removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const rgb = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return new Page(await reader.read({ width: info.width, height: info.height, rgb })).text;
}

/** What filters see of a text: they look past blanks and widths. */
const plain = (text: string) => text.normalize('NFKC').replace(/\s/g, '');

const recall: Record<string, number> = {};
const before = process.cpuUsage();
let images = 0;
for (const [name, drawing, change] of CONDITIONS) {
  let found = 0;
  for (const text of TEXTS) {
    images++;
    const pixels = await (await drawn(text, drawing)).png().toBuffer();
    if (plain(await read(await change(sharp(pixels)))).includes(plain(text))) found++;
  }
  recall[name] = found / TEXTS.length;
  console.log(`${name.padEnd(26)} ${recall[name].toFixed(2)}`);
}
let lettered = 0;
for (let seed = 1; seed <= SURFACES; seed++) {
  images++;
  const { width, height, rgb } = makeSurface({ seed });
  if ((await read(sharp(rgb, { raw: { width, height, channels: 3 } }))) !== '') lettered++;
}
console.log(`surfaces in which something is read: ${lettered} of ${SURFACES}`);
const { user, system } = process.cpuUsage(before);
const cpuMsPerImage = Math.round((user + system) / 1000 / images);
const memoryMegabytes = Math.round(process.resourceUsage().maxRSS / 1024);
console.log(JSON.stringify({ recall, surfaces: SURFACES, lettered, images, cpuMsPerImage, memoryMegabytes }));
