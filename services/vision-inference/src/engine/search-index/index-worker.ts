/** Entry of the thread that holds all indexes: neither a search nor a put keeps the service's event loop. */

import { parentPort } from 'node:worker_threads';
import type { FromIndexes, IndexAnswer, IndexRequest, ToIndexes } from './protocol.ts';
import { restoreIndex, saveIndex } from './saved-index.ts';
import { VectorIndex } from './vector-index.ts';

/** Entries that are put before a search gets its turn: some ten milliseconds. */
const SLICE = 32;

const port = parentPort!;
const send = (message: FromIndexes) => port.postMessage(message);
const indexes = new Map<string, VectorIndex>();

port.on('message', (message: ToIndexes) => {
  if ('close' in message) return port.close();
  const { call, request } = message;
  handle(request).then(
    (answer) => send({ call, answer }),
    (error) => send({ call, failed: error instanceof Error ? error.message : String(error) }),
  );
});
send({ ready: true });

async function handle(request: IndexRequest): Promise<IndexAnswer<IndexRequest['type']>> {
  if (request.type === 'open') {
    const { dimensions, folder, entries } = request;
    const index = restoreIndex(folder, dimensions, new Map(entries)) ?? new VectorIndex(dimensions);
    indexes.set(request.index, index);
    return Float64Array.from(index.labels());
  }
  if (request.type === 'forget') return indexes.delete(request.index);
  const index = indexes.get(request.index);
  if (!index) throw new Error('the index is not open');
  switch (request.type) {
    case 'search':
      return index.search(request.query, request.most, request.filter);
    case 'save':
      saveIndex(index, request.folder);
      return true;
    case 'put':
      for (let from = 0; from < request.entries.length; from += SLICE) {
        if (from > 0) await new Promise(setImmediate);
        index.put(request.entries.slice(from, from + SLICE));
      }
      return index.size;
    case 'remove':
      for (const label of request.labels) index.remove(label);
      return index.size;
  }
}
