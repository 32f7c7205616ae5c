/** Pictures whose headers promise more than anyone should decode. */

import { crc32, deflateSync } from 'node:zlib';

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), out.length - 4);
  return out;
}

/** A PNG that says it is so large, of zeros that deflate to next to nothing. */
export function bomb(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([1, 0, 0, 0, 0], 8);
  const rows = deflateSync(Buffer.alloc((Math.ceil(width / 8) + 1) * Math.min(height, 20_000)));
  const magic = Buffer.from('89504e470d0a1a0a', 'hex');
  return Buffer.concat([magic, chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))]);
}

/** A WebP whose header says that it is an animation, with so many empty frames. */
export function frames(count: number): Buffer {
  const part = (name: string, data: Buffer) => {
    const head = Buffer.alloc(8);
    head.write(name, 'latin1');
    head.writeUInt32LE(data.length, 4);
    return Buffer.concat([head, data]);
  };
  const extended = Buffer.from([2, 0, 0, 0, 7, 0, 0, 7, 0, 0]);
  const list = Array.from({ length: count }, () => part('ANMF', Buffer.alloc(16)));
  const body = Buffer.concat([
    Buffer.from('WEBP'),
    part('VP8X', extended),
    part('ANIM', Buffer.alloc(6)),
    ...list,
  ]);
  return part('RIFF', body);
}
