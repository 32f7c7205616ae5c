import { join } from 'node:path';
import { type ArtifactLocation, artifactLocationVar } from '@landfall/common/artifacts/location.ts';
import { booleanVar, type Env, integerVar, stringVar, urlVar } from '@landfall/common/config/env.ts';
import { readServiceConfig, type ServiceConfig } from '@landfall/common/config/service-config.ts';
import type { ImportLimits } from './domain/import-folder.ts';
import type { HubConfig } from './hub/client.ts';

export interface RegistryConfig extends ServiceConfig {
  /** Folder under which ImportModel may read; empty for none. */
  importRoot: string;
  importLimits: ImportLimits;
  /** Largest file that is taken, in bytes. */
  maxFileBytes: number;
  /** Longest wait for the next chunk of an upload, in milliseconds. */
  uploadIdleMs: number;
  /** How long content that nothing refers to is kept, in milliseconds. */
  collectAfterMs: number;
  /** How long a deleted version can be restored, in milliseconds. */
  keepDeletedMs: number;
  /** How long a model is kept of which no version was ever READY, after its newest draft was begun, in milliseconds. */
  keepEmptyMs: number;
  hub: HubConfig;
  /** Where content is kept. */
  artifacts: ArtifactLocation;
}

const GIB = 1024 ** 3;
const DAY_MS = 86_400_000;

/**
 * The registry's configuration: what all services share, and LANDFALL_IMPORT_ROOT, LANDFALL_IMPORT_MAX_FILES,
 * LANDFALL_IMPORT_MAX_GIB, LANDFALL_MAX_FILE_GIB, LANDFALL_UPLOAD_IDLE_MS, LANDFALL_COLLECT_AFTER_MS,
 * LANDFALL_KEEP_DELETED_MS, LANDFALL_KEEP_EMPTY_MS, LANDFALL_ARTIFACTS_URL, LANDFALL_HUB_HOSTS, and the hub's own HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE. Throws ConfigError that names the variable.
 */
export function readConfig(env: Env): RegistryConfig {
  const service = readServiceConfig('registry', env);
  return {
    ...service,
    artifacts: artifactLocationVar(env, 'LANDFALL_ARTIFACTS_URL', join(service.home, 'artifacts')),
    importRoot: env.LANDFALL_IMPORT_ROOT ? stringVar(env, 'LANDFALL_IMPORT_ROOT') : '',
    importLimits: {
      maxFiles: integerVar(env, 'LANDFALL_IMPORT_MAX_FILES', 2000, 1, 10_000),
      maxBytes: integerVar(env, 'LANDFALL_IMPORT_MAX_GIB', 1024, 1, 65_536) * GIB,
      maxDepth: 8,
    },
    maxFileBytes: integerVar(env, 'LANDFALL_MAX_FILE_GIB', 256, 1, 1024) * GIB,
    uploadIdleMs: integerVar(env, 'LANDFALL_UPLOAD_IDLE_MS', 30_000, 100, 3_600_000),
    collectAfterMs: integerVar(env, 'LANDFALL_COLLECT_AFTER_MS', 3_600_000, 100, 2 ** 31 - 1),
    keepDeletedMs: integerVar(env, 'LANDFALL_KEEP_DELETED_MS', 7 * DAY_MS, 0, 3650 * DAY_MS),
    keepEmptyMs: integerVar(env, 'LANDFALL_KEEP_EMPTY_MS', 7 * DAY_MS, 100, 3650 * DAY_MS),
    hub: {
      endpoint: urlVar(env, 'HF_ENDPOINT', 'https://huggingface.co', ['https', 'http']),
      token: env.HF_TOKEN ?? '',
      hosts: (env.LANDFALL_HUB_HOSTS ?? '').split(',').filter((host) => host !== ''),
      offline: booleanVar(env, 'HF_HUB_OFFLINE', false),
    },
  };
}
