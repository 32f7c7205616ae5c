/**
 * The first half of the training: the image tower learns to see, from masks.
 *
 *   node deploy/src/inspection-model/train-tower.ts --samples FILE --work DIR [--minutes 30] [--workers 2]
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Random } from '../base-model/random.ts';
import { initialParameters, seedTower } from './parameters.ts';
import { trainFor } from './run.ts';
import { PATCH, SIDE } from './sample.ts';
import { HELD_OUT, SampleFile } from './samples.ts';
import { pixelsOf, TowerGraph } from './tower-graph.ts';
import { Workers } from './workers.ts';

const BATCH = 32;
const PEAK_RATE = 1.5e-3;

const { values } = parseArgs({
  options: {
    samples: { type: 'string' },
    work: { type: 'string' },
    minutes: { type: 'string', default: '30' },
    workers: { type: 'string', default: '2' },
  },
});
if (!values.samples || !values.work) throw new Error('--samples FILE and --work DIR are wanted');
mkdirSync(values.work, { recursive: true });
const samples = new SampleFile(values.samples);
const forward = await TowerGraph.create({ threads: 1, gradients: false });
const initial = initialParameters(forward.shapes, 1);
seedTower(initial, somePatches());
const workers = new Workers(
  join(import.meta.dirname, 'tower-worker.ts'),
  Number(values.workers),
  { samples: values.samples },
  initial,
);

await trainFor({
  state: join(values.work, 'tower.safetensors'),
  minutes: Number(values.minutes),
  peakRate: PEAK_RATE,
  parameters: workers.parameters,
  step: async (step) => ({ ...(await workers.step(step)), samples: BATCH }),
  measure,
});
await workers.end();
await forward.release();
samples.close();

async function measure(): Promise<string> {
  const sums = { cells: 0, severity: 0, box: 0 };
  const batches = HELD_OUT / BATCH;
  for (let i = 0; i < batches; i++) {
    const batch = Array.from({ length: BATCH }, (_, k) => samples.read(i * BATCH + k));
    const { parts } = await forward.step(batch, workers.parameters);
    for (const name of ['cells', 'severity', 'box'] as const) sums[name] += parts[name] / batches;
  }
  return `held out: cells ${sums.cells.toFixed(4)}, severity ${sums.severity.toFixed(3)}, box ${sums.box.toFixed(3)}`;
}

/** Patches as the tower's first layer sees them. */
function somePatches(): Float32Array[] {
  const random = new Random(3);
  return Array.from({ length: 1500 }, () => {
    const pixels = pixelsOf([samples.read(random.below(samples.count))]);
    const [top, left] = [random.below(SIDE / PATCH) * PATCH, random.below(SIDE / PATCH) * PATCH];
    return Float32Array.from({ length: 3 * PATCH * PATCH }, (_, i) => {
      const [c, y, x] = [Math.floor(i / PATCH ** 2), Math.floor(i / PATCH) % PATCH, i % PATCH];
      return pixels[c * SIDE * SIDE + (top + y) * SIDE + left + x]!;
    });
  });
}
