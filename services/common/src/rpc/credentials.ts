import * as grpc from '@grpc/grpc-js';
import type { TlsConfig } from '../config/service-config.ts';

/** Mutual TLS where configured, plain otherwise. */
export function channelCredentials(tls: TlsConfig | undefined): grpc.ChannelCredentials {
  return tls ? grpc.credentials.createSsl(tls.ca, tls.key, tls.cert) : grpc.credentials.createInsecure();
}
