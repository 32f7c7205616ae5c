import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { ConfigError, type Env, stringVar } from '@landfall/common/config/env.ts';

/** Files of the door's TLS, in PEM. */
export interface EdgeTls {
  certFile: string;
  keyFile: string;
  /** Authority of client certificates; empty takes none. */
  clientCaFile: string;
}

const [CERT, KEY, CLIENT_CA] = [
  'LANDFALL_GATEWAY_TLS_CERT',
  'LANDFALL_GATEWAY_TLS_KEY',
  'LANDFALL_GATEWAY_TLS_CLIENT_CA',
] as const;

/** How often files are looked at. */
const LOOK_MS = 1000;

/** @throws ConfigError where one is given without the other, or they do not belong together */
export function readEdgeTls(env: Env): EdgeTls | undefined {
  if (!env[CERT] && !env[KEY] && !env[CLIENT_CA]) return undefined;
  const tls = {
    certFile: stringVar(env, CERT),
    keyFile: stringVar(env, KEY),
    clientCaFile: env[CLIENT_CA] ?? '',
  };
  try {
    createSecureContext(secureContext(tls));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new ConfigError(CERT, `with ${KEY} and ${CLIENT_CA} can not be used (${code ?? 'no PEM'})`);
  }
  return tls;
}

/** What the files hold now. */
export function secureContext({ certFile, keyFile, clientCaFile }: EdgeTls): SecureContextOptions {
  return {
    ...{ cert: readFileSync(certFile), key: readFileSync(keyFile), minVersion: 'TLSv1.2' },
    ...(clientCaFile ? { ca: readFileSync(clientCaFile) } : {}),
  };
}

/**
 * Calls back when files have changed and go together; what does not go together (a certificate that was replaced before
 * its key) is told to `failed`, and left until it does.
 * @returns ends it
 */
export function watchTls(
  tls: EdgeTls,
  changed: (context: SecureContextOptions) => void,
  failed: (cause: unknown) => void,
): () => void {
  const files = [tls.certFile, tls.keyFile, tls.clientCaFile].filter(Boolean);
  const look = () => {
    try {
      const context = secureContext(tls);
      createSecureContext(context);
      changed(context);
    } catch (cause) {
      failed(cause);
    }
  };
  for (const file of files) watchFile(file, { interval: LOOK_MS, persistent: false }, look);
  return () => {
    for (const file of files) unwatchFile(file, look);
  };
}
