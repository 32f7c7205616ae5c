import type { Logger } from '@landfall/common/log/logger.ts';
import type { TextConfig } from '../config.ts';
import { formatModelRef } from '../model/ref.ts';
import type { Backend } from './backend.ts';
import { OpenAiBackend } from './openai-backend.ts';

/** The backend that a replica is told to use; undefined for our own engine. */
export function openBackend(config: TextConfig, logger: Logger): Backend | undefined {
  const { backend, maxBatch } = config;
  const base = formatModelRef(config.model);
  if (backend.kind === 'openai') return new OpenAiBackend(backend, base, maxBatch, logger);
  return undefined;
}
