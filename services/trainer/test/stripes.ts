import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { randomOf } from '@landfall/metrics/random.ts';
import sharp from 'sharp';

/** What is asked of every image. */
export const QUESTION = '<image>\nstripes?';
/** The answers, of one length. */
export const ANSWERS = ['across', 'upward'] as const;

const SIDE = 16;

/** A PNG of stripes that lie or stand, in noise, so that no two are the same. */
export function stripes(upward: boolean, random: () => number): Promise<Buffer> {
  const data = Buffer.alloc(SIDE * SIDE * 3);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const bright = (upward ? x : y) % 4 < 2;
      for (let c = 0; c < 3; c++)
        data[(y * SIDE + x) * 3 + c] = (bright ? 180 : 40) + Math.floor(30 * random());
    }
  }
  return sharp(data, { raw: { width: SIDE, height: SIDE, channels: 3 } })
    .png()
    .toBuffer();
}

/** A data set's files by path: rows.jsonl and the images that its rows show. */
export async function stripesFiles(count: number, seed: bigint): Promise<Map<string, Buffer>> {
  const random = randomOf(seed, 'stripes');
  const files = new Map<string, Buffer>();
  const lines: string[] = [];
  for (let i = 0; i < count; i++) {
    const upward = i % 2 === 1;
    files.set(`images/${i}.png`, await stripes(upward, random));
    const messages = [
      { role: 'user', content: QUESTION },
      { role: 'assistant', content: ANSWERS[Number(upward)] },
    ];
    lines.push(JSON.stringify({ image: `images/${i}.png`, messages }));
  }
  return files.set('rows.jsonl', Buffer.from(`${lines.join('\n')}\n`));
}

/** The same in a folder. */
export async function writeStripes(folder: string, count: number, seed: bigint): Promise<void> {
  mkdirSync(path.join(folder, 'images'), { recursive: true });
  for (const [name, content] of await stripesFiles(count, seed))
    writeFileSync(path.join(folder, name), content);
}
