import { setTimeout as delay } from 'node:timers/promises';
import type { RunningReplica } from './runtime.ts';

/** What a replica gets beyond its own grace period before it is killed, in milliseconds. */
const MARGIN_MS = 1000;

/** Waits for a replica that was asked to end, and kills it when the grace period is over. */
export async function awaitEnd(running: RunningReplica, graceMs: number): Promise<void> {
  const over = new AbortController();
  const late = delay(graceMs + MARGIN_MS, true, { signal: over.signal });
  late.catch(() => {});
  const isLate = await Promise.race([running.exited.then(() => false), late]);
  over.abort();
  if (!isLate) return;
  running.kill();
  await running.exited;
}
