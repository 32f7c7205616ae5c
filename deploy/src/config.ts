import { join } from 'node:path';

/** The repository's root, from where services are started. */
export const repositoryRoot = join(import.meta.dirname, '../..');

/** What the launcher takes from the environment. */
export interface LauncherConfig {
  /** State folder. */
  home: string;
  /** Port of the gateway; 0 picks a free one. */
  gatewayPort: number;
  /** A broker that already runs; empty starts one. */
  natsUrl: string;
  /** Folder that the registry may import from. */
  importRoot: string;
  /** What services inherit, OTEL_* and LANDFALL_* included. */
  environment: NodeJS.ProcessEnv;
}

/** Reads LANDFALL_HOME, LANDFALL_GATEWAY_PORT, LANDFALL_NATS_URL, LANDFALL_IMPORT_ROOT. */
export function readLauncherConfig(env: NodeJS.ProcessEnv = process.env): LauncherConfig {
  const port = Number(env.LANDFALL_GATEWAY_PORT ?? '8080');
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new Error(
      `LANDFALL_GATEWAY_PORT is ${env.LANDFALL_GATEWAY_PORT}; give a port from 0 (free) to 65535`,
    );
  }
  return {
    home: env.LANDFALL_HOME || '.landfall',
    gatewayPort: port,
    natsUrl: env.LANDFALL_NATS_URL ?? '',
    importRoot: env.LANDFALL_IMPORT_ROOT || join(repositoryRoot, 'deploy/demo'),
    environment: env,
  };
}
