/**
 * Runs over all items in their order, several at a time; the first error stops the others.
 * @throws the first error, when all that had begun has ended
 */
export async function atOnce<Item>(
  items: readonly Item[],
  { concurrency, signal: outer }: { concurrency: number; signal: AbortSignal },
  run: (item: Item, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([outer, stop.signal]);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      signal.throwIfAborted();
      await run(items[next++]!, signal);
    }
  };
  const workers = Array.from({ length: Math.min(concurrency, items.length) }, worker);
  try {
    await Promise.all(workers);
  } catch (error) {
    stop.abort();
    await Promise.allSettled(workers);
    throw error;
  }
}
