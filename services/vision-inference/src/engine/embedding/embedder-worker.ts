/** Entry of the thread that embeds: what waits is taken together, so that the runtime sees batches under load. */

import { parentPort, workerData } from 'node:worker_threads';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { Embedder } from './embedder.ts';
import type { EmbedderOptions, FromEmbedder, Item, ToEmbedder } from './protocol.ts';

/** Of one run. */
const MAX_BATCH = 16;

/** What is left to do for an item. */
type Ready = { id: number; seen: Float32Array } | { id: number; text: string };

const port = parentPort!;
const send = (message: FromEmbedder) => port.postMessage(message);
const waiting = new Map<number, Ready>();
let running = false;
let closing = false;

try {
  const embedder = await Embedder.create(workerData as EmbedderOptions);
  port.on('message', (message: ToEmbedder) => {
    if (message.type === 'embed') take(embedder, message.item);
    else if (message.type === 'drop') waiting.delete(message.id);
    else closing = true;
    if (!running) void run(embedder);
  });
  send({ type: 'ready', dimensions: embedder.dimensions });
} catch (error) {
  // What libraries say of files tells where they lie.
  const known = error instanceof CheckpointError;
  send({ type: 'failed', message: known ? error.message : 'its weights or its tokenizer cannot be read' });
  port.close();
}

/** The runtime runs on threads of its own: the next image is resized while it does. */
function take(embedder: Embedder, item: Item): void {
  if ('text' in item) return void waiting.set(item.id, item);
  try {
    waiting.set(item.id, { id: item.id, seen: embedder.see(item.image) });
    send({ type: 'seen', id: item.id });
  } catch (error) {
    send({ type: 'refused', id: item.id, message: messageOf(error) });
  }
}

async function run(embedder: Embedder): Promise<void> {
  running = true;
  while (waiting.size > 0) {
    const batch = nextBatch();
    for (const { id } of batch) waiting.delete(id);
    await embed(embedder, batch);
    // What came in the meantime, and what was dropped, is read before the next batch is put together.
    await new Promise(setImmediate);
  }
  running = false;
  if (!closing) return;
  await embedder.release();
  port.close();
}

/** What has waited longest, and the next of its kind. */
function nextBatch(): Ready[] {
  const [first, ...others] = waiting.values();
  const alike = others.filter((item) => 'text' in item === 'text' in first!);
  return [first!, ...alike.slice(0, MAX_BATCH - 1)];
}

async function embed(embedder: Embedder, batch: Ready[]): Promise<void> {
  try {
    const seen = batch.flatMap((item) => ('seen' in item ? [item.seen] : []));
    const vectors =
      seen.length > 0
        ? await embedder.images(seen)
        : await embedder.texts(batch.flatMap((item) => ('text' in item ? [item.text] : [])));
    for (const [i, { id }] of batch.entries()) send({ type: 'embedded', id, vector: vectors[i]! });
  } catch (error) {
    // One that can't be embedded must not take the others with it.
    if (batch.length > 1) for (const item of batch) await embed(embedder, [item]);
    else send({ type: 'refused', id: batch[0]!.id, message: messageOf(error) });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
