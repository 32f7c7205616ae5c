import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import { withImagePlaces } from '@landfall/graph/training/sequence-images.ts';
import { TOWER } from '@landfall/graph/training/sight.ts';
import { TrainingGraph } from '@landfall/graph/training/trainer.ts';
import { loadTokenizer } from '@landfall/trainer/engine/data/tokenizer.ts';
import { Random } from '../base-model/random.ts';
import { type Sample, type Target, turned } from './sample.ts';
import { HELD_OUT, SampleFile } from './samples.ts';
import { type DecoderOptions, MAX_LENGTH, SPEC, sequenceOf, sightOf } from './sequence.ts';
import { TowerGraph } from './tower-graph.ts';
import { serveParts } from './workers.ts';

/** How often the question is English. */
const ENGLISH = 0.15;
/** Of a step's samples the share that the tower learns the masks of too, and what that counts beside the answers. */
const MASKS = { share: 0.5, weight: 0.3 };
/** How often a sample without what is hardest to see, a slight scratch or crack, is passed over. */
const EASY = 0.35;

await serveParts<DecoderOptions>(async ({ index, count, options }) => {
  const samples = new SampleFile(options.samples);
  const sight = sightOf(options.folder, options.tower);
  const { config, language } = sight.checkpoint;
  const tokenizer = await loadTokenizer(options.folder);
  const graph = await TrainingGraph.create(language, SPEC, {
    threads: 1,
    maxLength: MAX_LENGTH,
    sight,
    imageCacheBytes: 0,
  });
  const masks = options.tower ? await TowerGraph.create({ threads: 1, gradients: true }) : undefined;
  return async (step, parameters) => {
    const random = new Random((step * count + index) * 2 + options.seed);
    const surfaces = Array.from({ length: options.batch / count }, () =>
      turned(drawn(samples, random, step < options.single ? 1 : Infinity), random.below(8)),
    );
    const batch = surfaces.map((sample) => {
      const asked = random.next() < ENGLISH ? 'en' : 'zh';
      return withImagePlaces(config, sequenceOf(sample, asked, tokenizer));
    });
    const { loss, gradients } = await graph.step(batch, parameters);
    if (!masks) return { loss, gradients };
    const part = surfaces.slice(0, surfaces.length * MASKS.share);
    const seen = await masks.step(part, towerOf(parameters));
    return { loss, gradients: withMasks(gradients, seen.gradients) };
  };
});

const isHard = ({ type, severity }: Target) =>
  severity === 'slight' && (type === 'scratch' || type === 'crack');

/** The tower's parameters, and those of its heads, by the names that the tower has alone. */
function towerOf(parameters: ReadonlyMap<string, NamedTensor>): Map<string, NamedTensor> {
  return new Map(
    [...parameters].map(([name, tensor]) => [
      name.startsWith(TOWER) ? name.slice(TOWER.length) : name,
      tensor,
    ]),
  );
}

/** The gradients of the answers with those of the masks added. */
function withMasks(
  answers: ReadonlyMap<string, Float32Array>,
  masks: ReadonlyMap<string, Float32Array>,
): Map<string, Float32Array> {
  const sums = new Map(answers);
  for (const [name, gradient] of masks) {
    const full = sums.has(TOWER + name) ? TOWER + name : name;
    const before = sums.get(full);
    sums.set(
      full,
      gradient.map((value, i) => MASKS.weight * value + (before?.[i] ?? 0)),
    );
  }
  return sums;
}

/** A sample with at most so many defects. */
function drawn(samples: SampleFile, random: Random, most: number): Sample {
  for (;;) {
    const sample = samples.read(HELD_OUT + random.below(samples.count - HELD_OUT));
    if (sample.targets.length > most) continue;
    if (sample.targets.some(isHard) || random.next() >= EASY) return sample;
  }
}
