import type { Sharp } from 'sharp';
import type { MediaType } from './header.ts';

/** What of a photograph's detail is kept: 95 and full chroma is beyond what eyes and towers tell apart. */
const LOSSY = { quality: 95, chromaSubsampling: '4:4:4' } as const;

/** How an image is encoded anew in its own type. */
export const ENCODE: Record<MediaType, (image: Sharp) => Sharp> = {
  'image/png': (image) => image.png(),
  'image/jpeg': (image) => image.jpeg(LOSSY),
  'image/webp': (image) => image.webp({ lossless: true, effort: 1 }),
};
