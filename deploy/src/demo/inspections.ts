import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Material, makeSurface } from '@landfall/surfaces/surface.ts';
import sharp from 'sharp';
import type { MeshClients } from './clients.ts';
import type { DemoResult } from './result.ts';
import type { Screen } from './screen.ts';

export const INSPECTION_DEPLOYMENT = 'inspection';

/** Surfaces that no training has seen: one is sound. */
const PIECES: readonly { name: string; material: Material; seed: number; count: number }[] = [
  { name: 'metal', material: 'metal', seed: 80_000_000, count: 2 },
  { name: 'circuit', material: 'circuit', seed: 80_000_003, count: 1 },
  { name: 'fabric', material: 'fabric', seed: 80_000_003, count: 0 },
];

/** Imports the inspecting model, which lies under the registry's import root, and serves it. */
export async function deployInspector({ registry, balancer }: MeshClients, screen: Screen): Promise<void> {
  const { version } = await registry.importModel({
    requestId: randomUUID(),
    name: 'surface-inspector',
    folder: 'inspection-model',
    description: 'A small LLaVA that inspects industrial surfaces, trained from nothing by this repository',
  });
  const { deployment } = await balancer.deploy(
    {
      requestId: randomUUID(),
      name: INSPECTION_DEPLOYMENT,
      model: version!.ref,
      replicas: 1,
      waitReady: true,
    },
    { timeoutMs: 90_000 },
  );
  screen.line(`  ${deployment!.name}: ${deployment!.model} at ${deployment!.endpoints[0]?.address}`);
}

/** Has images inspected and writes each, its report and where the model looked into a folder. */
export async function inspectPieces(
  { vision }: MeshClients,
  folder: string,
  screen: Screen,
): Promise<DemoResult['inspections']> {
  mkdirSync(folder, { recursive: true });
  const inspections: DemoResult['inspections'] = [];
  for (const { name, ...options } of PIECES) {
    const { rgb, width, height } = makeSurface(options);
    const content = await sharp(rgb, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer();
    const { report } = await vision.inspect({
      requestId: randomUUID(),
      image: { content: new Uint8Array(content) },
      profile: 'surface',
      deployment: INSPECTION_DEPLOYMENT,
      includeHeatMap: true,
    });
    const file = join(folder, `${name}.png`);
    writeFileSync(file, content);
    writeFileSync(join(folder, `${name}.txt`), `${report!.text}\n`);
    const overlay = join(folder, `${name}.overlay.png`);
    writeFileSync(overlay, report!.heatMap);
    screen.line(`  ${name}.png`);
    for (const line of report!.text.split('\n')) screen.line(`    ${line}`);
    inspections.push({ file, report: report!.text, overlay });
  }
  return inspections;
}
