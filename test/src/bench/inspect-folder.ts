import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TrueDefect } from '@landfall/deploy/inspection-model/figures.ts';
import { makeSurface } from '@landfall/surfaces/surface.ts';
import sharp from 'sharp';
import { UsageError } from './report.ts';

/** An image to be inspected and the truth about it. */
export interface Piece {
  file: string;
  /** Encoded. */
  bytes: Uint8Array;
  defects: TrueDefect[];
  /** [height, width]: one more than the index of the defect that lies there; undefined where only boxes are known. */
  mask?: { width: number; height: number; data: Uint8Array } | undefined;
}

/** Surfaces of neighbouring seeds, each made when it is asked for. */
export async function* madePieces(count: number, seed: number): AsyncGenerator<Piece> {
  for (let i = 0; i < count; i++) {
    const { rgb, width, height, defects, mask } = makeSurface({ seed: seed + i });
    const bytes = await sharp(rgb, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer();
    yield { file: `${String(i).padStart(5, '0')}.png`, bytes, defects, mask: { width, height, data: mask } };
  }
}

/** Images beside a truth.json; masks, where there are any, lie in `masks` under the images' names. */
export async function* folderPieces(folder: string): AsyncGenerator<Piece> {
  const file = join(folder, 'truth.json');
  if (!existsSync(file)) throw new UsageError(`${folder} has no truth.json`);
  const rows = JSON.parse(readFileSync(file, 'utf8')) as Pick<Piece, 'file' | 'defects'>[];
  for (const { file, defects } of rows) {
    const mask = join(folder, 'masks', file);
    yield {
      file,
      defects,
      bytes: readFileSync(join(folder, file)),
      mask: existsSync(mask) ? await readMask(mask) : undefined,
    };
  }
}

/** Writes such a folder. @returns how many images it has */
export async function writePieces(folder: string, pieces: AsyncIterable<Piece>): Promise<number> {
  mkdirSync(join(folder, 'masks'), { recursive: true });
  const truth: Pick<Piece, 'file' | 'defects'>[] = [];
  for await (const { file, bytes, defects, mask } of pieces) {
    writeFileSync(join(folder, file), bytes);
    if (mask) {
      const { width, height, data } = mask;
      await sharp(data, { raw: { width, height, channels: 1 } })
        .png()
        .toFile(join(folder, 'masks', file));
    }
    truth.push({ file, defects });
  }
  writeFileSync(join(folder, 'truth.json'), `${JSON.stringify(truth, null, 1)}\n`);
  return truth.length;
}

async function readMask(file: string): Promise<Piece['mask']> {
  const { data, info } = await sharp(file).extractChannel(0).raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data: new Uint8Array(data) };
}
