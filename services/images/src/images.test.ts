import { crc32, deflateSync } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { expect, test } from 'vitest';
import { between, generator, testSeed } from '../../graph/test/random.ts';
import { imageFromDataUrl } from './data-url.ts';
import { decodeImage } from './decode.ts';
import { ImageError } from './errors.ts';
import { readHeader } from './header.ts';
import { storedImage } from './stored.ts';

const random = generator(testSeed('images'));
const MIB = 1024 * 1024;

/** A smooth picture, so that lossy types stay near it. */
function picture(width: number, height: number, channels: 1 | 3 | 4 = 3): Sharp {
  const phase = random() * 6;
  const data = Buffer.from(
    Uint8Array.from({ length: width * height * channels }, (_, i) => {
      const [x, y] = [Math.floor(i / channels) % width, Math.floor(i / channels / width)];
      return 128 + 100 * Math.sin(phase + x / 9 + y / 7 + (i % channels));
    }),
  );
  return sharp(data, { raw: { width, height, channels } });
}

const TYPES = {
  png: (image: Sharp) => image.png(),
  jpeg: (image: Sharp) => image.jpeg({ quality: 95, chromaSubsampling: '4:4:4' }),
  progressive: (image: Sharp) => image.jpeg({ progressive: true, quality: 95 }),
  'lossy webp': (image: Sharp) => image.webp({ quality: 95 }),
  'lossless webp': (image: Sharp) => image.webp({ lossless: true }),
};
const types = Object.entries(TYPES);

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), out.length - 4);
  return out;
}

function png(width: number, height: number, ...chunks: Buffer[]): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([8, 2], 8);
  const signature = Buffer.from('89504e470d0a1a0a', 'hex');
  return Buffer.concat([signature, chunk('IHDR', header), ...chunks, chunk('IEND', Buffer.alloc(0))]);
}

/** Puts chunks after the header of a PNG. */
function withChunks(image: Buffer, ...chunks: Buffer[]): Buffer {
  return Buffer.concat([image.subarray(0, 33), ...chunks, image.subarray(33)]);
}

function refused(bytes: Uint8Array): Promise<ImageError> {
  return decodeImage(bytes).then(
    () => expect.fail('it was decoded'),
    (error) => {
      expect(error).toBeInstanceOf(ImageError);
      return error as ImageError;
    },
  );
}

test.each(types)('%s is decoded', async (_, encode) => {
  const [width, height] = [between(random, 1, 90), between(random, 1, 90)];
  const source = picture(width, height);
  const raw = await source.clone().raw().toBuffer();
  const image = await decodeImage(await encode(source).toBuffer());
  expect(image).toMatchObject({ width, height });
  expect(image.rgb.length).toBe(raw.length);
  const far = image.rgb.reduce((sum, value, i) => sum + Math.abs(value - raw[i]!), 0) / raw.length;
  expect(far).toBeLessThan(6);
});

test('grey, 16 bits, palettes, CMYK and transparency become 8 bits of three channels', async () => {
  const grey = await picture(8, 8, 1).png().toBuffer();
  const { rgb } = await decodeImage(grey);
  expect([...rgb.subarray(0, 3)]).toEqual([rgb[0], rgb[0], rgb[0]]);
  expect(rgb.length).toBe(192);

  const pixel = { width: 4, height: 4, channels: 3, background: '#c86432' } as const;
  const deep = await sharp({ create: pixel }).toColourspace('rgb16').png().toBuffer();
  expect([...(await decodeImage(deep)).rgb.subarray(0, 3)]).toEqual([200, 100, 50]);
  const deepGrey = await sharp({ create: { ...pixel, background: '#808080' } })
    .toColourspace('grey16')
    .png()
    .toBuffer();
  expect([...(await decodeImage(deepGrey)).rgb]).toEqual(new Array(48).fill(128));
  const palette = await sharp({ create: pixel }).png({ palette: true }).toBuffer();
  expect([...(await decodeImage(palette)).rgb.subarray(0, 3)]).toEqual([200, 100, 50]);
  const cmyk = await sharp({ create: { ...pixel, background: '#ffffff' } })
    .toColourspace('cmyk')
    .jpeg()
    .toBuffer();
  expect((await sharp(cmyk).metadata()).space).toBe('cmyk');
  expect(Math.min(...(await decodeImage(cmyk)).rgb)).toBeGreaterThan(250);

  const half = { ...pixel, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0.5 } } as const;
  for (const bytes of [
    await sharp({ create: half }).png().toBuffer(),
    await sharp({ create: half }).webp({ lossless: true }).toBuffer(),
  ]) {
    expect(Math.abs((await decodeImage(bytes)).rgb[0]! - 127)).toBeLessThan(2);
  }
});

test.each(types)('%s: every EXIF orientation is honoured, and nothing of it kept', async (name, encode) => {
  // Red left, blue right: 2 x 1 blocks of 16.
  const left = { create: { width: 32, height: 16, channels: 3, background: '#0000ff' } } as const;
  const red = { create: { width: 16, height: 16, channels: 3, background: '#ff0000' } } as const;
  const flat = sharp({ ...left }).composite([{ input: await sharp(red).png().toBuffer(), left: 0, top: 0 }]);
  const upright = await sharp(await flat.png().toBuffer()).toBuffer();
  for (let orientation = 1; orientation <= 8; orientation++) {
    const exif = { IFD0: { Copyright: 'SECRET-OWNER' }, IFD3: { GPSLatitude: '31/1 14/1 0/1' } };
    const bytes = await encode(sharp(upright)).withMetadata({ orientation, exif }).toBuffer();
    expect(bytes.includes('SECRET-OWNER')).toBe(true);
    const { width, height, rgb } = await decodeImage(bytes);
    expect([width, height], `${name} ${orientation}`).toEqual(orientation < 5 ? [32, 16] : [16, 32]);
    // Of the first pixel: red where the left or the upper end begins.
    const redFirst = [1, 4, 5, 6].includes(orientation);
    expect(rgb[0]! > rgb[2]!, `${name} ${orientation}`).toBe(redFirst);

    const stored = await storedImage(bytes);
    expect(stored).toMatchObject({ width, height });
    expect(Buffer.from(stored.bytes).includes('SECRET-OWNER')).toBe(false);
    const kept = await sharp(stored.bytes).metadata();
    expect(kept.exif ?? kept.xmp ?? kept.icc ?? kept.iptc ?? kept.orientation).toBeUndefined();
    expect(`image/${kept.format}`).toBe(stored.mediaType);
    const again = await storedImage(bytes);
    expect(again.digest).toBe(stored.digest);
  }
});

test('what is stored without loss has the pixels that are decoded', async () => {
  const bytes = await picture(33, 21, 4).png().toBuffer();
  const stored = await storedImage(bytes);
  expect(await decodeImage(stored.bytes)).toEqual(await decodeImage(bytes));
});

test('bombs are refused for what their headers say, and cost nothing', async () => {
  const before = process.memoryUsage().rss;
  for (let trial = 0; trial < 200; trial++) {
    const width = between(random, 5001, 2 ** 31 - 1);
    const bomb = png(width, between(random, 5000, 2 ** 31 - 1), chunk('IDAT', Buffer.alloc(16)));
    expect((await refused(bomb)).fault).toBe('pixels');
  }
  // A real one: 60,000 x 60,000 pixels of one colour, in 200 KB.
  const rows = deflateSync(Buffer.alloc(32 * MIB));
  const real = await refused(png(60_000, 60_000, ...Array.from({ length: 6 }, () => chunk('IDAT', rows))));
  expect(real.message).toBe(
    'the image has 60000 x 60000 pixels; at most 25000000 are taken: send it smaller',
  );
  const jpeg = await picture(8, 8).jpeg().toBuffer();
  const frame = jpeg.indexOf(Buffer.from([0xff, 0xc0]));
  jpeg.writeUInt16BE(60_000, frame + 5);
  jpeg.writeUInt16BE(60_000, frame + 7);
  expect((await refused(jpeg)).fault).toBe('pixels');
  const webp = await picture(8, 8, 4).webp({ lossless: true }).toBuffer();
  webp.writeUInt32LE(0x0fffffff, webp.indexOf('VP8L') + 9);
  expect((await refused(webp)).fault).toBe('pixels');
  expect((await refused(Buffer.alloc(16 * MIB + 1))).fault).toBe('size');
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * MIB + 17 * MIB);
});

test('a small canvas that hides a large picture is refused', async () => {
  const large = await sharp({ create: { width: 6000, height: 5000, channels: 3, background: '#888888' } })
    .webp({ lossless: true, effort: 0 })
    .toBuffer();
  const canvas = Buffer.alloc(18);
  canvas.write('VP8X', 'latin1');
  canvas.writeUInt32LE(10, 4);
  canvas.writeUIntLE(7, 12, 3);
  canvas.writeUIntLE(7, 15, 3);
  const lying = Buffer.concat([large.subarray(0, 12), canvas, large.subarray(12)]);
  lying.writeUInt32LE(lying.length - 8, 4);
  expect((await refused(lying)).message).toContain('more pixels than it says');
});

test('texts that unpack to gigabytes never reach the decoder', async () => {
  const text = Buffer.concat([Buffer.from('Comment\0\0', 'latin1'), deflateSync(Buffer.alloc(256 * MIB))]);
  const bytes = withChunks(
    await picture(8, 8).png().toBuffer(),
    ...Array.from({ length: 20 }, () => chunk('zTXt', text)),
  );
  const before = process.memoryUsage().rss;
  expect(await decodeImage(bytes)).toMatchObject({ width: 8, height: 8 });
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * MIB);
});

test('animations and scans without end are refused', async () => {
  const still = await picture(8, 8).png().toBuffer();
  const control = Buffer.alloc(8);
  control.writeUInt32BE(10_000);
  const apng = await refused(withChunks(still, chunk('acTL', control)));
  expect(apng.message).toBe('the image is an animation of 10000 frames; send a still image');
  const frames = await picture(8, 16).raw().toBuffer();
  const raw = { width: 8, height: 16, channels: 3, pageHeight: 8 } as const;
  const animation = sharp(frames, { raw });
  expect((await refused(await animation.clone().webp().toBuffer())).fault).toBe('frames');
  expect((await refused(await animation.clone().gif().toBuffer())).fault).toBe('type');
  const jpeg = await picture(8, 8).jpeg({ progressive: true }).toBuffer();
  const scan = jpeg.subarray(jpeg.indexOf(Buffer.from([0xff, 0xda])), jpeg.length - 2);
  const many = Buffer.concat([
    jpeg.subarray(0, -2),
    ...Array.from({ length: 200 }, () => scan),
    jpeg.subarray(-2),
  ]);
  expect((await refused(many)).message).toContain('more than 100 scans');
});

test.each([
  ['nothing', ''],
  ['a text', 'hello, this is no picture at all'],
  [
    'an SVG',
    '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
  ],
  ['a PDF', '%PDF-1.7\n'],
  ['a GIF', 'GIF89a\x08\0\x08\0'],
  ['a TIFF', 'II*\0\x08\0\0\0'],
  ['a BMP', 'BM\x46\0\0\0'],
  ['an AVIF', '\0\0\0\x1cftypavif'],
  ['a script of ImageMagick', 'push graphic-context\nviewbox 0 0 640 480'],
  ['a pickle', '\x80\x04\x95\0\0'],
  ['the beginning of a PNG', '\x89PNG\r\n\x1a\n'],
  ['the beginning of a JPEG', '\xff\xd8\xff'],
  ['the beginning of a WebP', 'RIFF\x08\0\0\0WEBP'],
])('%s is no image', async (_, text) => {
  const error = await refused(Buffer.from(text, 'latin1'));
  expect(['type', 'broken']).toContain(error.fault);
  expect(error.message).not.toMatch(/vips|sharp|\//i);
});

/** As pictures, of one colour, or of noise: what is missing of each looks different to a decoder. */
function anyPicture(): Sharp {
  // One row of blocks at times: a decoder is then at its end before it says what it lacks.
  const [width, height] = [
    between(random, 20, 90),
    random() < 0.3 ? between(random, 1, 8) : between(random, 9, 90),
  ];
  const kind = Math.floor(random() * 3);
  if (kind === 0) return picture(width, height);
  const [level, spread] = [random() * 255, kind === 1 ? 0 : 255];
  const noise = Uint8Array.from({ length: width * height * 3 }, () => level + spread * (random() - 0.5));
  return sharp(Buffer.from(noise), { raw: { width, height, channels: 3 } });
}

test.each(types)('%s cut anywhere is broken', async (_, encode) => {
  for (let trial = 0; trial < 40; trial++) {
    const bytes = await encode(anyPicture()).toBuffer();
    await decodeImage(bytes);
    const cut = bytes.subarray(0, trial === 0 ? bytes.length - 1 : between(random, 0, bytes.length - 1));
    const error = await refused(cut);
    expect(['broken', 'type'], `${cut.length} of ${bytes.length}`).toContain(error.fault);
    await expect(storedImage(cut)).rejects.toBeInstanceOf(ImageError);
    expect(() => readHeader(cut), `${cut.length} of ${bytes.length}`).toThrow(ImageError);
  }
});

test('a JPEG whose end mark stands where rows are missing is broken', async () => {
  for (let trial = 0; trial < 20; trial++) {
    const source = picture(between(random, 24, 90), between(random, 40, 90));
    const bytes = await source.jpeg({ quality: 95 }).toBuffer();
    const scan = bytes.indexOf(Buffer.from([0xff, 0xda]));
    const kept = bytes.subarray(
      0,
      between(random, scan + 12, scan + 12 + Math.floor((bytes.length - scan) / 2)),
    );
    const error = await refused(Buffer.concat([kept, Buffer.from([0xff, 0xd9])]));
    expect(error.fault, `${kept.length} of ${bytes.length}`).toBe('broken');
  }
});

test.each(types)('%s with bits turned over is read or broken, and nothing else', async (_, encode) => {
  const bytes = await encode(picture(between(random, 8, 60), between(random, 8, 60))).toBuffer();
  const before = process.memoryUsage().rss;
  for (let trial = 0; trial < 150; trial++) {
    const flipped = Buffer.from(bytes);
    for (let flips = between(random, 1, 8); flips > 0; flips--) {
      // Half of them in the header, where numbers are.
      const at = between(random, 0, random() < 0.5 ? Math.min(60, bytes.length - 1) : bytes.length - 1);
      flipped[at]! ^= 1 << between(random, 0, 7);
    }
    try {
      const { width, height, rgb } = await decodeImage(flipped);
      expect(rgb.length).toBe(width * height * 3);
      expect(width * height).toBeLessThanOrEqual(25_000_000);
    } catch (error) {
      expect(error).toBeInstanceOf(ImageError);
    }
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(512 * MIB);
});

test('limits of the caller hold', async () => {
  const bytes = await picture(40, 30).png().toBuffer();
  await expect(decodeImage(bytes, { bytes: bytes.length - 1, pixels: 1200 })).rejects.toThrow('bytes');
  await expect(decodeImage(bytes, { bytes: bytes.length, pixels: 1199 })).rejects.toThrow('40 x 30');
  expect(await decodeImage(bytes, { bytes: bytes.length, pixels: 1200 })).toMatchObject({ width: 40 });
  expect(readHeader(bytes)).toEqual({ mediaType: 'image/png', width: 40, height: 30, frames: 1 });
});

test('a data URL gives its bytes, and anything else is refused', async () => {
  for (let trial = 0; trial < 50; trial++) {
    const bytes = Buffer.from(Uint8Array.from({ length: between(random, 1, 99) }, () => random() * 256));
    const url = `data:image/png;base64,${bytes.toString('base64')}`;
    expect(Buffer.from(imageFromDataUrl(url))).toEqual(bytes);
  }
  const long = `data:image/png;base64,${'A'.repeat(1000)}`;
  for (const url of [
    'https://example.com/a.png',
    'file:///etc/passwd',
    'data:text/html;base64,AAAA',
    'data:image/png,AAAA',
    'data:image/png;base64,',
    'data:image/png;base64,AA\nAA',
    'data:image/png;base64,A*AA',
    'data:image/png;base64,A',
  ])
    expect(() => imageFromDataUrl(url), url).toThrow(ImageError);
  expect(() => imageFromDataUrl(long, { bytes: 100, pixels: 1 })).toThrow('more than 100 bytes');
});
