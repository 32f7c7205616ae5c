import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import { openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { writeLoraAdapter } from '@landfall/graph/checkpoint/peft.ts';
import { initialLora } from '@landfall/graph/training/lora.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { median, type Report } from './report.ts';
import type { ServeOptions } from './serve.ts';
import { closedLoop, type Round, requestsOf } from './serve-load.ts';
import { ServiceProcesses } from './serve-replica.ts';
import type { Asked } from './serve-target.ts';

type Registry = RpcClient<typeof RegistryService>;

const STREAMS = 16;
const ADAPTERS = 8;
const LORA = { r: 8, loraAlpha: 16, targetModules: ['q_proj', 'v_proj'], useRslora: false };

/** Streams over several adapters at once against as many on the base, adapters from a registry. */
export async function measure(report: Report, options: ServeOptions): Promise<void> {
  await using processes = new ServiceProcesses();
  const model = resolve(options.model);
  const { address } = await processes.start('registry', {
    LANDFALL_IMPORT_ROOT: dirname(model),
    LANDFALL_NATS_URL: await processes.broker(),
  });
  const registry = processes.channel(address).client(RegistryService);
  const { version } = await registry.importModel(
    { name: 'base', folder: basename(model) },
    { timeoutMs: 300_000 },
  );
  const base = version!.ref;
  const adapters: string[] = [];
  for (let i = 0; i < ADAPTERS; i++) {
    const folder = join(processes.folder, `adapter-${i}`);
    writeRandomAdapter(folder, model, options.random);
    adapters.push(await register(registry, `adapter-${i}`, folder, base));
  }
  const { target } = await processes.replica(options, {
    LANDFALL_MODEL: base,
    LANDFALL_REGISTRY_URL: address,
  });
  const onAdapters = (streams: Asked[][]) =>
    streams.map((list, i) => list.map((asked) => ({ ...asked, model: adapters[i % ADAPTERS]! })));
  const round = (streams: Asked[][]) => closedLoop(target, streams, options.prompt);
  const [mixed, plain]: [Round[], Round[]] = [[], []];
  // The first round loads the adapters.
  for (let i = 0; i <= options.rounds; i++) {
    const both = [await round(onAdapters(requestsOf(STREAMS, options)))];
    both.push(await round(requestsOf(STREAMS, options)));
    if (i === 0) continue;
    mixed.push(both[0]!);
    plain.push(both[1]!);
  }
  const speed = (rounds: Round[]) => median(rounds.map(({ tokensPerSecond }) => tokensPerSecond));
  report.ratio('adapters.of-base', speed(mixed), speed(plain), 'tokens/s');
}

/** As training begins it, but with a second half that does something. */
function writeRandomAdapter(folder: string, model: string, random: () => number): void {
  const tensors = initialLora(openCheckpoint(model).config, LORA, random);
  for (const [name, { data }] of tensors)
    if (name.includes('.lora_B.')) for (let i = 0; i < data.length; i++) data[i] = 0.02 * (random() - 0.5);
  writeLoraAdapter(folder, { config: LORA, tensors }, 'base');
}

/** @returns `models:/name/version` */
async function register(registry: Registry, name: string, folder: string, base: string): Promise<string> {
  await registry.createModel({ name, kind: Kind.ADAPTER });
  const { version } = await registry.createVersion({ name, lineage: { base } });
  for (const path of readdirSync(folder)) {
    const content = readFileSync(join(folder, path));
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    await registry.putArtifact({
      header: { name, version: version!.version, path, digest, sizeBytes: BigInt(content.length) },
      content,
    });
  }
  await registry.commitVersion({ name, version: version!.version });
  return version!.ref;
}
