import { setTimeout as delay } from 'node:timers/promises';
import { Code, ConnectError } from '@connectrpc/connect';

/** What a service that was just killed, or the gateway before it, may answer. */
const PASSING = new Set([Code.Unavailable, Code.Aborted, Code.DeadlineExceeded, Code.Canceled, Code.Unknown]);

/**
 * Makes a call again until it is answered, as a client does that lives through restarts. Each try must be safe to
 * repeat: give mutations one request id for all of them.
 */
export async function patiently<T>(call: () => Promise<T>, timeoutMs = 60_000): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const { code } = ConnectError.from(error);
      if (!PASSING.has(code) || Date.now() > end) throw error;
      await delay(200);
    }
  }
}
