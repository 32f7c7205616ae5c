import type { Logger } from '@landfall/common/log/logger.ts';
import type { TextConfig } from '../config.ts';
import { formatModelRef } from '../model/ref.ts';
import type { Backend } from './backend.ts';
import { OpenAiBackend } from './openai-backend.ts';
import { TransformersBackend } from './transformersjs-backend.ts';

/**
 * The backend that a replica is told to use; undefined for our own engine.
 * @param onLost called when the thread that computes is lost
 */
export function openBackend(
  config: TextConfig,
  logger: Logger,
  onLost: (reason: Error) => void,
): Backend | undefined {
  const { backend, maxBatch } = config;
  const base = formatModelRef(config.model);
  if (backend.kind === 'openai') return new OpenAiBackend(backend, base, maxBatch, logger);
  if (backend.kind === 'transformersjs')
    return new TransformersBackend(config.modelFolder!, base, config.threads, onLost);
  return undefined;
}
