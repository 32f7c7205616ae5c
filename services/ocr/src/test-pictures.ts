/** Pictures of text, for tests and for the evaluation. */

import { fileURLToPath } from 'node:url';
import sharp, { type Sharp } from 'sharp';

const FONT = fileURLToPath(
  import.meta.resolve('@expo-google-fonts/noto-sans-sc/400Regular/NotoSansSC_400Regular.ttf'),
);

export interface Drawing {
  /** Height of a letter's em, in pixels. */
  px?: number;
  ink?: string;
  paper?: string;
  /** Pixels around the text. */
  frame?: number;
}

/** Lines of text in Noto Sans SC, black on white as a rule. */
export async function drawn(text: string, drawing: Drawing = {}): Promise<Sharp> {
  const { px = 24, ink = '#000000', paper = '#ffffff', frame = 24 } = drawing;
  const escaped = text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
  const letters = await sharp({
    text: {
      text: `<span foreground="${ink}">${escaped}</span>`,
      // Points of 96 to the inch.
      ...{ font: `Noto Sans SC ${px * 0.75}`, fontfile: FONT, rgba: true, dpi: 96 },
    },
  })
    .png()
    .toBuffer({ resolveWithObject: true });
  const { width, height } = letters.info;
  const page = {
    width: width + 2 * frame,
    height: height + 2 * frame,
    channels: 3,
    background: paper,
  } as const;
  const pixels = await sharp({ create: page })
    .composite([{ input: letters.data, left: frame, top: frame }])
    // What is composed has an alpha channel.
    .removeAlpha()
    .raw()
    .toBuffer();
  return sharp(pixels, { raw: { width: page.width, height: page.height, channels: 3 } });
}

export const drawnPng = async (text: string, drawing?: Drawing): Promise<Buffer> =>
  (await drawn(text, drawing)).png().toBuffer();
