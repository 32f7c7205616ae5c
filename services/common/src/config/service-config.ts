import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { addressVar, ConfigError, type Env, integerVar, stringVar, urlVar } from './env.ts';
import { readLifecycleConfig } from './lifecycle-config.ts';

/** Certificate, key and authority in PEM; with mutual TLS the peer's certificate must be signed by the authority. */
export interface TlsConfig {
  cert: Buffer;
  key: Buffer;
  ca: Buffer;
}

/** What every service needs to know. */
export interface ServiceConfig {
  /** Name of the service: folder, log field, database schema. */
  name: string;
  /** The service's own state folder. */
  home: string;
  /** Where its gRPC server listens; port 0 takes a free one. */
  listen: { host: string; port: number };
  natsUrl: string;
  /** `postgres://...`; empty means a SQLite file in `home`. */
  databaseUrl: string;
  /** Key with which the mesh signs identities. */
  meshKey: Uint8Array;
  logLevel: string;
  /** Mutual TLS between services, where configured. */
  tls: TlsConfig | undefined;
  /** Milliseconds that running calls get on SIGTERM. */
  graceMs: number;
  /** Port of the Prometheus endpoint on loopback; 0 takes a free one, -1 has none. */
  metricsPort: number;
  /** Whether the process ends when the one that started it does. */
  endWithParent: boolean;
}

function readTls(env: Env): TlsConfig | undefined {
  const files = ['LANDFALL_TLS_CERT', 'LANDFALL_TLS_KEY', 'LANDFALL_TLS_CA'];
  if (files.every((name) => !env[name])) return undefined;
  const [cert, key, ca] = files.map((name) => readNamed(name, stringVar(env, name)));
  return { cert: cert!, key: key!, ca: ca! };
}

function readNamed(name: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new ConfigError(
      name,
      `names a file that cannot be read (${(error as NodeJS.ErrnoException).code})`,
    );
  }
}

const SHORTEST_MESH_KEY = 32;

function readMeshKey(env: Env): Buffer {
  const name = 'LANDFALL_MESH_KEY_FILE';
  const key = readNamed(name, stringVar(env, name));
  if (key.length < SHORTEST_MESH_KEY) {
    throw new ConfigError(
      name,
      `names a file of ${key.length} bytes; a mesh key has at least ${SHORTEST_MESH_KEY} random ones`,
    );
  }
  return key;
}

/**
 * The part of a service's configuration that all share: LANDFALL_HOME, LANDFALL_LISTEN, LANDFALL_NATS_URL,
 * LANDFALL_DATABASE_URL, LANDFALL_MESH_KEY_FILE, LANDFALL_LOG_LEVEL, LANDFALL_TLS_CERT/KEY/CA,
 * LANDFALL_GRACE_MS, LANDFALL_METRICS_PORT, LANDFALL_END_WITH_PARENT.
 * @throws ConfigError that names the variable.
 */
export function readServiceConfig(name: string, env: Env): ServiceConfig {
  return {
    name,
    home: join(stringVar(env, 'LANDFALL_HOME', '.landfall'), name),
    listen: addressVar(env, 'LANDFALL_LISTEN', '127.0.0.1:0'),
    natsUrl: stringVar(env, 'LANDFALL_NATS_URL', 'nats://127.0.0.1:4222'),
    databaseUrl: urlVar(env, 'LANDFALL_DATABASE_URL', '', ['postgres', 'postgresql']),
    meshKey: readMeshKey(env),
    tls: readTls(env),
    metricsPort: integerVar(env, 'LANDFALL_METRICS_PORT', 0, -1, 65_535),
    ...readLifecycleConfig(env),
  };
}
