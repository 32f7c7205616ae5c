import type { ImageFault } from '@landfall/images/errors.ts';
import type { Area } from '@landfall/images/painted.ts';
import type { Reading } from '@landfall/ocr/reading.ts';

/** What a reading process is asked: to read an image, or to paint areas of it over. */
export type Task =
  | { kind: 'read'; bytes: Uint8Array }
  | { kind: 'paint'; bytes: Uint8Array; areas: readonly Area[] };

/** What it answers; tasks come one at a time, so answers need no numbers. */
export type Answer =
  /** One reading, or two of an image that looks another over another ground. */
  | { kind: 'read'; readings: Reading[] }
  | { kind: 'painted'; bytes: Uint8Array }
  /** The image is none that is taken. */
  | { kind: 'refused'; fault: ImageFault; message: string }
  /** It is the process's own fault. */
  | { kind: 'failed'; message: string };
