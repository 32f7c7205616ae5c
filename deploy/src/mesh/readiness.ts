import { setTimeout as delay } from 'node:timers/promises';
import { natsAnswers } from '@landfall/common/events/nats-server.ts';
import { checkHealth } from '@landfall/common/rpc/health-client.ts';

const PAUSE_MS = 50;

async function until(probe: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
  while (!(await probe().catch(() => false))) await delay(PAUSE_MS, undefined, { signal });
}

/** Resolves when a service's readiness check says SERVING. */
export function servesGrpc(address: string, signal: AbortSignal): Promise<void> {
  return until(() => checkHealth(address, 'readiness', { signal }), signal);
}

/** Resolves when a URL answers with a success. */
export function answersHttp(url: string, signal: AbortSignal): Promise<void> {
  return until(async () => (await fetch(url, { signal })).ok, signal);
}

/** Resolves when a broker greets on a loopback port. */
export function answersNats(port: number, signal: AbortSignal): Promise<void> {
  return until(() => natsAnswers(port), signal);
}
