import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { type ClipConfig, readClipConfig } from '@landfall/graph/models/clip-config.ts';
import { type ModelConfig, readModelConfig } from '@landfall/graph/models/config.ts';
import { type LlavaConfig, readLlavaConfig } from '@landfall/graph/models/llava-config.ts';
import type { Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { RegistryGateway } from '../clients/registry.ts';

/** The shape of a base that answers: of its decoder, and of the whole where it reads images. */
export interface DecoderShape {
  model: ModelConfig;
  llava?: LlavaConfig;
}

/** The shape of a CLIP. */
export interface ClipShape {
  clip: ClipConfig;
}

export type BaseShape = DecoderShape | ClipShape;

/** Reads a config.json of any kind. @throws CheckpointError */
export function readBaseShape(json: Record<string, unknown>): BaseShape {
  if (json.model_type === 'clip') return { clip: readClipConfig(json) };
  if (json.model_type !== 'llava') return { model: readModelConfig(json) };
  const llava = readLlavaConfig(json);
  return { model: llava.language, llava };
}

/**
 * The shape of a base, from its config.json alone.
 *
 * @throws LandfallError FAILED_PRECONDITION naming what of it can't be trained
 */
export async function baseShape(
  registry: RegistryGateway,
  base: Version,
  options: CallOptions,
): Promise<BaseShape> {
  const unfit = (why: string) =>
    new LandfallError(status.FAILED_PRECONDITION, `${base.ref} can't be trained: ${why}`, {
      reason: 'MODEL_NOT_SUPPORTED',
    });
  const content = await registry.read(base, 'config.json', options);
  if (!content) throw unfit('config.json is missing');
  try {
    return readBaseShape(JSON.parse(content.toString('utf8')) as Record<string, unknown>);
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
