/**
 * Entry of the thread that makes of images what an exported model reads: decoding and the model's own image processor of
 * transformers.js. The thread that computes, and the service's event loop, stay free.
 */

import path from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { AutoImageProcessor, env, type ImageProcessor, RawImage } from '@huggingface/transformers';
import { decodeImage } from '@landfall/images/decode.ts';
import { ImageError } from '@landfall/images/errors.ts';
import { PromptError } from '../engine/prompt.ts';
import type { EncodedImage } from '../engine/seeing-thread.ts';
import { joined, type Looked, look, plainTensor } from './transformersjs-looks.ts';
import type { FromSight, Sight, SightOptions, ToSight } from './transformersjs-sight.ts';

const port = parentPort!;
const { folder, vision } = workerData as SightOptions;

async function see(
  processor: ImageProcessor,
  images: readonly EncodedImage[],
  whole: boolean,
): Promise<Sight> {
  const looked: Looked[] = [];
  for (const { bytes, field } of images) {
    const { width, height, rgb } = await decoded(bytes, field);
    try {
      looked.push(await look(processor, new RawImage(rgb, width, height, 3), vision, whole));
    } catch (error) {
      // Of a folder that works for one image: the other's shape is what it does not take.
      throw new PromptError(field, `the model's image processor does not take it: ${messageOf(error)}`);
    }
  }
  const tensors = Object.entries(joined(looked, vision.family));
  return {
    tensors: Object.fromEntries(tensors.map(([name, tensor]) => [name, plainTensor(tensor)])),
    texts: looked.map(({ text }) => text),
    outside: looked.reduce((sum, { outside }) => sum + outside, 0),
  };
}

async function decoded(bytes: Uint8Array<ArrayBuffer>, field: string) {
  try {
    return await decodeImage(bytes);
  } catch (error) {
    throw error instanceof ImageError ? new PromptError(field, error.message) : error;
  }
}

try {
  env.allowRemoteModels = false;
  env.useFSCache = false;
  const local = { local_files_only: true };
  const processor = await AutoImageProcessor.from_pretrained(path.resolve(folder), local);
  // One after the other, as they are computed.
  let last: Promise<unknown> = Promise.resolve();
  port.on('message', (message: ToSight) => {
    last = last.then(async () => {
      if (message.type === 'close') return port.close();
      const { call, images, whole } = message;
      try {
        const sight = await see(processor, images, whole);
        const memory = Object.values(sight.tensors).map(({ data }) => data.buffer as ArrayBuffer);
        port.postMessage({ type: 'seen', call, sight } satisfies FromSight, memory);
      } catch (error) {
        const field = error instanceof PromptError ? error.field : undefined;
        port.postMessage({ type: 'refused', call, field, message: messageOf(error) } satisfies FromSight);
      }
    });
  });
  port.postMessage({ type: 'ready' } satisfies FromSight);
} catch (error) {
  port.postMessage({ type: 'failed', message: messageOf(error) } satisfies FromSight);
  port.close();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
