import { type Env, integerVar, stringVar } from '@landfall/common/config/env.ts';
import { readServiceConfig, type ServiceConfig } from '@landfall/common/config/service-config.ts';
import type { ImportLimits } from './domain/import-folder.ts';

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
}

const GIB = 1024 ** 3;

/**
 * The registry's configuration: what all services share, and LANDFALL_IMPORT_ROOT, LANDFALL_IMPORT_MAX_FILES,
 * LANDFALL_IMPORT_MAX_GIB, LANDFALL_MAX_FILE_GIB, LANDFALL_UPLOAD_IDLE_MS, LANDFALL_COLLECT_AFTER_MS. Throws ConfigError that names the variable.
 */
export function readConfig(env: Env): RegistryConfig {
  return {
    ...readServiceConfig('registry', env),
    importRoot: env.LANDFALL_IMPORT_ROOT ? stringVar(env, 'LANDFALL_IMPORT_ROOT') : '',
    importLimits: {
      maxFiles: integerVar(env, 'LANDFALL_IMPORT_MAX_FILES', 2000, 1, 10_000),
      maxBytes: integerVar(env, 'LANDFALL_IMPORT_MAX_GIB', 1024, 1, 65_536) * GIB,
      maxDepth: 8,
    },
    maxFileBytes: integerVar(env, 'LANDFALL_MAX_FILE_GIB', 256, 1, 1024) * GIB,
    uploadIdleMs: integerVar(env, 'LANDFALL_UPLOAD_IDLE_MS', 30_000, 100, 3_600_000),
    collectAfterMs: integerVar(env, 'LANDFALL_COLLECT_AFTER_MS', 3_600_000, 100, 2 ** 31 - 1),
  };
}
