/**
 * A process that reads images, so that a decoder's fault or an image that takes for ever ends nothing but itself. It asks
 * for nothing, opens no port, and ends with the gateway.
 */

import { setPriority } from 'node:os';
import { decodeImage, hasAlpha } from '@landfall/images/decode.ts';
import { ImageError } from '@landfall/images/errors.ts';
import { IMAGE_LIMITS } from '@landfall/images/limits.ts';
import { paintedImage } from '@landfall/images/painted.ts';
import { TextReader } from '@landfall/ocr/text-reader.ts';
import type { Answer, Task } from './protocol.ts';

/** Calls that are under way go before images that are read. */
const NICE = 5;

const [threads = '1'] = process.argv.slice(2);
setPriority(NICE);
let reader: Promise<TextReader> | undefined;

async function answerOf(task: Task): Promise<Answer> {
  if (task.kind === 'paint') return { kind: 'painted', bytes: await paintedImage(task.bytes, task.areas) };
  const onWhite = await decodeImage(task.bytes);
  reader ??= TextReader.open(Number(threads));
  const opened = await reader;
  const readings = [await opened.read(onWhite)];
  if (await hasAlpha(task.bytes)) {
    const onBlack = await decodeImage(task.bytes, IMAGE_LIMITS, '#000000');
    if (Buffer.compare(onWhite.rgb, onBlack.rgb) !== 0) readings.push(await opened.read(onBlack));
  }
  return { kind: 'read', readings };
}

process.on('message', (task: Task) => {
  answerOf(task)
    .catch((cause: unknown): Answer => {
      if (cause instanceof ImageError) return { kind: 'refused', fault: cause.fault, message: cause.message };
      return { kind: 'failed', message: cause instanceof Error ? cause.message : String(cause) };
    })
    .then((answer) => process.send!(answer));
});
process.on('disconnect', () => process.exit());
// Ctrl-C goes to the whole group; the gateway decides when its processes end.
process.on('SIGINT', () => {});
