import sharp, { type Sharp } from 'sharp';
import { expect, test } from 'vitest';
import { bareImage } from './bare.ts';
import { decodeImage } from './decode.ts';
import { pngChunk } from './png.ts';

const SECRET = 'phone 13812345678';

/** Four colours, so that a turn shows. */
function picture(): Sharp {
  const colours = [
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [255, 255, 0],
  ];
  const data = Buffer.from(
    Array.from({ length: 32 * 16 }, (_, i) => colours[(i % 32 < 16 ? 0 : 1) + (i < 32 * 8 ? 0 : 2)]!).flat(),
  );
  return sharp(data, { raw: { width: 32, height: 16, channels: 3 } });
}

const withTexts = (image: Sharp) =>
  image
    .withExif({ IFD0: { ImageDescription: SECRET, Artist: SECRET } })
    .withXmp(
      `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="${SECRET}"/></rdf:RDF></x:xmpmeta>`,
    );

const TYPES = {
  jpeg: (image: Sharp) => image.jpeg({ quality: 95 }),
  'progressive jpeg': (image: Sharp) => image.jpeg({ quality: 95, progressive: true }),
  png: (image: Sharp) => image.png(),
  webp: (image: Sharp) => image.webp({ lossless: true }),
};

test.each(Object.entries(TYPES))('%s: texts go, pixels and their turn stay', async (_, encode) => {
  const told = await encode(withTexts(picture().withMetadata({ orientation: 6 }))).toBuffer();
  expect(told.includes(SECRET)).toBe(true);
  const bare = Buffer.from(bareImage(told));
  expect(bare.includes(SECRET)).toBe(false);
  const [before, after] = await Promise.all([decodeImage(told), decodeImage(bare)]);
  expect([after.width, after.height]).toEqual([16, 32]);
  expect(Buffer.from(after.rgb).equals(before.rgb)).toBe(true);
  const { exif, xmp, iptc, orientation } = await sharp(bare).metadata();
  expect({ xmp, iptc, orientation }).toEqual({ xmp: undefined, iptc: undefined, orientation: 6 });
  expect(exif!.length).toBeLessThan(40);
  // What is bare is left as it is, to the byte.
  expect(bareImage(bare)).toBe(bare);
});

test.each(Object.entries(TYPES))('%s without texts: the very same bytes', async (_, encode) => {
  const plain = await encode(picture()).toBuffer();
  expect(bareImage(plain)).toBe(plain);
});

test('texts of a PNG, comments of a JPEG, and what stands behind the end go', async () => {
  const png = await picture().png().toBuffer();
  const text = pngChunk('tEXt', Buffer.from(`Comment\0${SECRET}`, 'latin1'));
  const hidden = Buffer.concat([png.subarray(0, 33), text, png.subarray(33), Buffer.from(SECRET)]);
  expect(Buffer.from(bareImage(hidden)).equals(png)).toBe(true);
  const jpeg = await picture().jpeg().toBuffer();
  const comment = Buffer.concat([Buffer.from([0xff, 0xfe, 0, SECRET.length + 2]), Buffer.from(SECRET)]);
  const told = Buffer.concat([jpeg.subarray(0, 2), comment, jpeg.subarray(2), Buffer.from(SECRET)]);
  expect(Buffer.from(bareImage(told)).equals(jpeg)).toBe(true);
  const webp = await picture().webp().toBuffer();
  expect(Buffer.from(bareImage(Buffer.concat([webp, Buffer.from(SECRET)]))).equals(webp)).toBe(true);
});
