/** The base model of a replica: a local folder, or a version of the registry in the local cache. */

import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { TextConfig } from '../config.ts';
import { formatModelRef } from './ref.ts';
import type { VersionSource } from './versions.ts';

export interface BaseModel {
  /** `models:/name/version`. */
  ref: string;
  /** Hugging Face folder. */
  folder: string;
}

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5000;

/**
 * Finds the base and makes it local. A registry that does not answer is asked again until the signal fires.
 * @throws Error where the configured model does not exist or is no base.
 */
export async function fetchBase(
  config: TextConfig,
  versions: VersionSource | undefined,
  logger: Logger,
  signal: AbortSignal,
): Promise<BaseModel> {
  const ref = formatModelRef(config.model);
  if (config.modelFolder) return { ref, folder: config.modelFolder };
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      const version = await versions!.find(config.model, signal);
      if (!version) throw new Error(`LANDFALL_MODEL: the registry has no ${ref} in tenant ${config.tenant}`);
      checkBase(version);
      return { ref: formatModelRef(version), folder: await versions!.folder(version, signal, { pin: true }) };
    } catch (error) {
      if (signal.aborted || !(error instanceof LandfallError) || error.code !== status.UNAVAILABLE)
        throw error;
      logger.warn({ err: error, model: ref, again_in_ms: pauseMs }, 'the registry does not answer');
      await delay(pauseMs, undefined, { signal });
    }
  }
}

function checkBase(version: Version): void {
  const ref = formatModelRef(version);
  if (version.kind !== Kind.BASE) {
    const base = version.lineage?.base;
    throw new Error(`LANDFALL_MODEL: ${ref} is not a whole model${base ? `; serve its base ${base}` : ''}`);
  }
  // A draft is served where the balancer was asked to by the service that measures it.
}
