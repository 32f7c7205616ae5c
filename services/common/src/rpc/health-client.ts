import * as grpc from '@grpc/grpc-js';
import { service } from 'grpc-health-check';
import type { TlsConfig } from '../config/service-config.ts';
import { channelCredentials } from './credentials.ts';

const check = service.Check!;

/**
 * Asks a server's grpc.health.v1 once.
 * @param name '' for liveness, 'readiness' for readiness
 * @returns whether it says SERVING; false for a server that does not answer within `timeoutMs` (default 2,000)
 */
export async function checkHealth(
  address: string,
  name: string,
  options: { tls?: TlsConfig | undefined; timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<boolean> {
  // A connection of its own: one that is shared is not tried again for seconds after the server was not there yet.
  const client = new grpc.Client(address, channelCredentials(options.tls), {
    'grpc.use_local_subchannel_pool': 1,
  });
  try {
    return await new Promise<boolean>((resolve) => {
      const call = client.makeUnaryRequest(
        check.path,
        check.requestSerialize,
        check.responseDeserialize as (bytes: Buffer) => { status: string },
        { service: name },
        new grpc.Metadata(),
        { deadline: Date.now() + (options.timeoutMs ?? 2000) },
        (error, reply) => resolve(!error && reply?.status === 'SERVING'),
      );
      options.signal?.addEventListener('abort', () => call.cancel(), { once: true });
    });
  } finally {
    client.close();
  }
}
