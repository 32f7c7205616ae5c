/**
 * The second half of the training: a decoder learns to tell what the tower sees, then both learn together.
 *
 *   node deploy/src/inspection-model/train.ts --samples FILE --work DIR [--out DIR] [--from MODEL] [--minutes 20] [--joint-minutes 15] [--workers 2]
 *
 * DIR holds `tower.safetensors`, which train-tower.ts made; with `--from` a model of before is trained on instead. A run
 * that was stopped goes on where it was.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeJsonAtomically } from '@landfall/graph/checkpoint/atomic-file.ts';
import { loadWeights } from '@landfall/graph/checkpoint/checkpoint.ts';
import { type NamedTensor, writeSafetensorsFrom } from '@landfall/graph/checkpoint/safetensors.ts';
import { trainedLlava } from '@landfall/graph/checkpoint/trained-llava.ts';
import { openLlava } from '@landfall/graph/checkpoint/vision.ts';
import { configJson } from '@landfall/graph/checkpoint/write-model.ts';
import { withImagePlaces } from '@landfall/graph/training/sequence-images.ts';
import { sightParameters, TOWER } from '@landfall/graph/training/sight.ts';
import { TrainingGraph } from '@landfall/graph/training/trainer.ts';
import { loadTokenizer } from '@landfall/trainer/engine/data/tokenizer.ts';
import { repositoryRoot } from '../config.ts';
import { writeAround, writeBeginning } from './folder.ts';
import { initialParameters } from './parameters.ts';
import { proof, shown } from './proof.ts';
import { keptParameters, trainFor } from './run.ts';
import { sampleOf } from './sample.ts';
import { HELD_OUT, SampleFile } from './samples.ts';
import { type DecoderOptions, MAX_LENGTH, SPEC, sequenceOf, sightOf } from './sequence.ts';
import { TowerGraph } from './tower-graph.ts';
import { Workers } from './workers.ts';

const BATCH = 32;
const DECODER_RATE = 1.5e-3;
const JOINT_RATE = 5e-4;
/** Steps at the beginning with one defect at most. */
const SINGLE_STEPS = 250;
/** Held-out samples that are answered in full on the way. */
const LOOKED_AT = 100;
/** Samples of seeds that no training has seen, as surfaces come, for the figures at the end. */
const PROVEN = 500;
const PROVEN_FROM = 50_000_000;
/** Held-out samples that are measured at once. */
const MEASURED = 32;

const { values } = parseArgs({
  options: {
    samples: { type: 'string' },
    work: { type: 'string' },
    out: { type: 'string', default: join(repositoryRoot, 'deploy/demo/inspection-model') },
    minutes: { type: 'string', default: '20' },
    'joint-minutes': { type: 'string', default: '15' },
    from: { type: 'string' },
    workers: { type: 'string', default: '2' },
  },
});
if (!values.samples || !values.work) throw new Error('--samples FILE and --work DIR are wanted');
const { samples: file, work, out } = values;
const samples = new SampleFile(file);

const told = values.from ?? join(work, 'told');
if (!values.from) {
  const beginning = join(work, 'beginning');
  if (!existsSync(join(beginning, 'config.json')))
    await writeBeginning(beginning, keptParameters(join(work, 'tower.safetensors')));
  await stage(beginning, told, { tower: false, minutes: Number(values.minutes), rate: DECODER_RATE });
}
await stage(told, out, { tower: true, minutes: Number(values['joint-minutes']), rate: JOINT_RATE });
samples.close();
const unseen = Array.from({ length: PROVEN }, (_, i) => sampleOf({ seed: PROVEN_FROM + i }));
process.stdout.write(`${JSON.stringify(await proof(out, unseen))}\n`);

function heldOut(count: number) {
  return Array.from({ length: count }, (_, i) => samples.read(i));
}

/** What the tower's heads begin as, and all else of it that is not among what trains. */
async function newHeads(trained: ReadonlyMap<string, NamedTensor>): Promise<Map<string, NamedTensor>> {
  const graph = await TowerGraph.create({ threads: 1, gradients: false });
  const shapes = new Map([...graph.shapes].filter(([name]) => !trained.has(TOWER + name)));
  await graph.release();
  return initialParameters(shapes, 1);
}

/** Trains the model of one folder and writes it into another. */
async function stage(
  from: string,
  to: string,
  { tower, minutes, rate }: { tower: boolean; minutes: number; rate: number },
): Promise<void> {
  const sight = sightOf(from, tower);
  const { checkpoint } = sight;
  const trained = new Map([...loadWeights(checkpoint.language), ...sightParameters(checkpoint, sight)]);
  const initial = tower ? new Map([...(await newHeads(trained)), ...trained]) : trained;
  const single = tower ? 0 : SINGLE_STEPS;
  const options: DecoderOptions = {
    samples: file,
    batch: BATCH,
    folder: from,
    single,
    tower,
    seed: Number(tower),
  };
  const script = join(import.meta.dirname, 'decoder-worker.ts');
  const workers = new Workers(script, Number(values.workers), options, initial);
  const { parameters } = workers;
  const tokenizer = await loadTokenizer(from);
  const forward = await TrainingGraph.create(checkpoint.language, SPEC, {
    threads: 1,
    maxLength: MAX_LENGTH,
    sight,
    imageCacheBytes: 0,
  });
  await trainFor({
    state: join(work, tower ? 'joint.safetensors' : 'decoder.safetensors'),
    minutes,
    peakRate: rate,
    parameters,
    step: async (step) => ({ ...(await workers.step(step)), samples: BATCH }),
    async measure() {
      let loss = 0;
      for (let first = 0; first < HELD_OUT; first += MEASURED) {
        const batch = Array.from({ length: MEASURED }, (_, i) =>
          withImagePlaces(checkpoint.config, sequenceOf(samples.read(first + i), 'zh', tokenizer)),
        );
        loss += ((await forward.loss(batch, parameters)) * MEASURED) / HELD_OUT;
      }
      write();
      return `held out: ${loss.toFixed(4)} nats a token; ${shown(await proof(to, heldOut(LOOKED_AT)))}`;
    },
  });
  await workers.end();
  await forward.release();
  write();

  function write(): void {
    mkdirSync(to, { recursive: true });
    const config = writeAround(to);
    const dtype = tower ? 'F16' : 'F32';
    writeSafetensorsFrom(join(to, 'model.safetensors'), trainedLlava(openLlava(from), parameters), { dtype });
    writeJsonAtomically(join(to, 'config.json'), configJson(config, dtype));
  }
}
