import { Random } from '../base-model/random.ts';
import { turned } from './sample.ts';
import { HELD_OUT, SampleFile } from './samples.ts';
import { TowerGraph } from './tower-graph.ts';
import { serveParts } from './workers.ts';

/** Samples of a step, over all workers. */
export const TOWER_BATCH = 32;

await serveParts<{ samples: string }>(async ({ index, count, options }) => {
  const samples = new SampleFile(options.samples);
  const graph = await TowerGraph.create({ threads: 1, gradients: true });
  return (step, parameters) => {
    const random = new Random(step * count + index + 7);
    const batch = Array.from({ length: TOWER_BATCH / count }, () =>
      turned(samples.read(HELD_OUT + random.below(samples.count - HELD_OUT)), random.below(8)),
    );
    return graph.step(batch, parameters);
  };
});
