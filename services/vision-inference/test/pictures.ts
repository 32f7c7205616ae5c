import sharp from 'sharp';

/** A PNG of random blocks of colour. */
export async function randomPicture(random: () => number, width = 40, height = 30): Promise<Uint8Array> {
  const blocks = Buffer.from(Uint8Array.from({ length: 4 * 3 * 3 }, () => random() * 256));
  const small = sharp(blocks, { raw: { width: 4, height: 3, channels: 3 } });
  return small.resize(width, height, { fit: 'fill', kernel: 'nearest' }).png().toBuffer();
}
