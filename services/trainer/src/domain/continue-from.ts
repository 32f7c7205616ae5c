import { create } from '@bufbuild/protobuf';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import { nameInDecoder } from '@landfall/graph/checkpoint/peft.ts';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { type TrainingConfig, TrainingConfigSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { RegistryGateway } from '../clients/registry.ts';
import type { MethodName } from '../engine/advice/choose-method.ts';

/**
 * Settings for going on from an earlier adapter: its own shape, which can't change, and the rest as given.
 *
 * @throws LandfallError for another method's adapter, and for a setting that would change its shape
 */
export async function continuedConfig(
  registry: RegistryGateway,
  from: Version,
  method: MethodName,
  given: TrainingConfig | undefined,
  options: CallOptions,
): Promise<TrainingConfig | undefined> {
  if (from.kind === Kind.BASE) return given;
  const content = await registry.read(from, 'adapter_config.json', options);
  const adapter = JSON.parse(content?.toString('utf8') ?? '{}') as Record<string, unknown>;
  const shape = method === 'ptuning_v2' ? prefixShape(adapter) : loraShape(adapter);
  const wanted = method === 'ptuning_v2' ? 'PREFIX_TUNING' : 'LORA';
  if (adapter.peft_type !== wanted || method === 'full' || method === 'frozen') {
    throw failedPrecondition(
      `${from.ref} is an adapter of type ${String(adapter.peft_type)}; ${method} can't go on from it`,
      {
        reason: 'OTHER_METHOD',
      },
    );
  }
  const config = given ?? create(TrainingConfigSchema);
  for (const [name, value] of Object.entries(shape)) {
    const asked = config[name as keyof TrainingConfig];
    const isSet = Array.isArray(asked) ? asked.length > 0 : Boolean(asked);
    if (isSet && JSON.stringify(asked) !== JSON.stringify(value)) {
      const field = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      throw invalidArgument(
        `spec.config.${field}`,
        `is the earlier adapter's, ${String(value)}; leave it out`,
      );
    }
  }
  return { ...config, ...shape };
}

function loraShape(adapter: Record<string, unknown>): Partial<TrainingConfig> {
  return {
    rank: adapter.r as number,
    loraAlpha: adapter.lora_alpha as number,
    targetModules: (adapter.target_modules as string[]).map(nameInDecoder),
    useRslora: adapter.use_rslora === true,
  };
}

/** Only what a projection gave is kept, so the prefix goes on without one. */
function prefixShape(adapter: Record<string, unknown>): Partial<TrainingConfig> {
  return { numVirtualTokens: adapter.num_virtual_tokens as number, prefixProjection: false };
}
