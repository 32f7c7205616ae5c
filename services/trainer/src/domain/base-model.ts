import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { type ModelConfig, readModelConfig } from '@landfall/graph/models/config.ts';
import type { Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { RegistryGateway } from '../clients/registry.ts';

/**
 * The shape of a base, from its config.json alone.
 *
 * @throws LandfallError FAILED_PRECONDITION naming what of it can't be trained
 */
export async function modelConfig(
  registry: RegistryGateway,
  base: Version,
  options: CallOptions,
): Promise<ModelConfig> {
  const unfit = (why: string) =>
    new LandfallError(status.FAILED_PRECONDITION, `${base.ref} can't be trained: ${why}`, {
      reason: 'MODEL_NOT_SUPPORTED',
    });
  const content = await registry.read(base, 'config.json', options);
  if (!content) throw unfit('config.json is missing');
  try {
    return readModelConfig(JSON.parse(content.toString('utf8')) as Record<string, unknown>);
  } catch (error) {
    if (error instanceof CheckpointError || error instanceof SyntaxError) throw unfit(error.message);
    throw error;
  }
}

/** Whether the model brings a chat template, in its own file or in its tokenizer's configuration. */
export async function hasChatTemplate(
  registry: RegistryGateway,
  base: Version,
  options: CallOptions,
): Promise<boolean> {
  if (base.manifest?.files.some((file) => file.path === 'chat_template.jinja')) return true;
  const content = await registry.read(base, 'tokenizer_config.json', options);
  if (!content) return false;
  try {
    return Boolean((JSON.parse(content.toString('utf8')) as { chat_template?: unknown }).chat_template);
  } catch {
    return false;
  }
}
