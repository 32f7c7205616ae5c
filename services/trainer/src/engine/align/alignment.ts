import { float32Checkpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import { openClip } from '@landfall/graph/checkpoint/vision.ts';
import type { Provider } from '@landfall/graph/onnx/provider.ts';
import type { Showing } from '@landfall/graph/training/balanced.ts';
import { BatchError } from '@landfall/graph/training/check-batch.ts';
import { boundLogitScale, clipParameters } from '@landfall/graph/training/clip-spec.ts';
import { ClipTrainingGraph, type ImageTextPair } from '@landfall/graph/training/clip-trainer.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import { brokenBase } from '../train/broken-weights.ts';
import { TrainingError } from '../train/errors.ts';
import type { AlignmentSpec, TrainingTask } from '../train/task.ts';
import type { MicroBatch, Trainee } from '../train/trainee.ts';
import { PairImages } from './pair-images.ts';
import { openEncoder, type Pair, preparePairs } from './pairs.ts';
import { PairSampler } from './sampler.ts';

/** As Radford et al. 2021 train (table 18); gains, biases and the scale of the logits do not decay. */
const NO_DECAY = /norm\d?\.weight$|\.bias$|logit_scale$|class_embedding$/;
const ADAM = { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, noDecay: (name: string) => NO_DECAY.test(name) };

/**
 * A run over a CLIP: pairs of image and caption, each compared with every other of its step. Micro-batches only bound
 * what is in memory at once.
 * @throws TrainingError
 */
export async function openAlignment(
  task: TrainingTask,
  spec: AlignmentSpec,
  provider: Provider,
): Promise<Trainee> {
  const base = openBase(task);
  const { clip, images, graph } = await openGraph(task, spec, base, provider);
  try {
    const encode = await openEncoder(
      task.modelFolder,
      Math.min(task.maxLength, clip.config.text.maxPositions),
    );
    const own = await preparePairs(task.datasetFolder, encode, clip.config);
    const looked = task.validation
      ? (await preparePairs(task.validation.datasetFolder, encode, clip.config)).pairs
      : [];
    const { batchSize, gradientAccumulationSteps, epochs, seed } = task;
    const { pairs, report } = own;
    const sampler = new PairSampler({
      keys: pairs.map(({ keys }) => keys),
      epochs,
      batchSize: batchSize * gradientAccumulationSteps,
      balanced: spec.balanced,
      seed,
    });
    const shown = ({ row, before }: Showing, epoch: number): ImageTextPair => {
      const pair = pairs[row]!;
      const changes = spec.augmentation === 'all' || (spec.augmentation === 'repeated' && before > 0);
      return asInput(pair, () =>
        images.pixels(
          pair.image,
          changes
            ? { random: randomOf(seed, 'augment', epoch, row, before), keepSides: spec.keepSides }
            : undefined,
        ),
      );
    };
    const stepOver =
      (batch: readonly ImageTextPair[]): MicroBatch =>
      (parameters) =>
        graph.step(batch, parameters);
    const batchAt = (step: number) => {
      const { epoch, showings } = sampler.of(step);
      return showings.map((showing) => shown(showing, epoch));
    };
    return {
      data: { rows: pairs.length, replayed: 0, issues: report.summary() },
      counts: countsOf(clip, graph),
      steps: sampler.steps,
      stepsPerEpoch: sampler.stepsPerEpoch,
      adam: ADAM,
      provider,
      precision: 'float32',
      isHalf: false,
      initial: () => clipParameters(clip, spec.clip, randomOf(seed, 'adapter')),
      broken: () => brokenBase([base]),
      batchesOf(step) {
        const batch = batchAt(step);
        const tokens = batch.reduce((sum, { ids }) => sum + ids.length, 0);
        return { batches: [stepOver(batch)], tokens, rows: batch.length };
      },
      largest: () => ({ batch: stepOver(batchAt(0)), share: 1 / sampler.steps }),
      ...(looked.length > 0
        ? {
            validationLoss: (parameters) =>
              lossOver(graph, looked, (pair) => images.pixels(pair.image), sampler.batchSize, parameters),
          }
        : {}),
      bound: boundLogitScale,
      leaner: () => [
        ...(batchSize > 1
          ? [`batch_size ${Math.ceil(batchSize / 2)} with twice the gradient_accumulation_steps`]
          : []),
        ...('lora' in spec.clip ? [] : ['fewer tower_layers and text_layers']),
      ],
      release: () => graph.release(),
    };
  } catch (error) {
    await graph.release();
    throw error;
  }
}

function openBase({ modelFolder }: TrainingTask) {
  return asTrainingError(() => openClip(modelFolder));
}

async function openGraph(
  task: TrainingTask,
  spec: AlignmentSpec,
  base: ReturnType<typeof openClip>,
  provider: Provider,
) {
  try {
    const clip = float32Checkpoint(base, task.weightCacheFolder);
    const images = new PairImages(task.modelFolder, clip.config.vision.imageSize);
    const { threads, batchSize } = task;
    const graph = await ClipTrainingGraph.create(clip, spec.clip, { threads, provider, partSize: batchSize });
    return { clip, images, graph };
  } catch (error) {
    throw trainingError(error);
  }
}

function asTrainingError<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    throw trainingError(error);
  }
}

const trainingError = (error: unknown) =>
  error instanceof CheckpointError
    ? new TrainingError('model', `the base can't be trained: ${error.message}`)
    : error;

const asInput = ({ ids, keys, image }: Pair, pixels: () => Promise<Float32Array>): ImageTextPair => ({
  ids,
  label: keys.label,
  image: { key: image.digest, pixels },
});

function countsOf(clip: ReturnType<typeof openClip>, graph: ClipTrainingGraph) {
  const size = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1);
  const sum = (shapes: readonly (readonly number[])[]) => shapes.reduce((all, shape) => all + size(shape), 0);
  const stored = sum([...clip.tensors.values()].map(({ shape }) => shape));
  const matrices = [...graph.shapes].filter(([name]) => /\.lora_[AB]\./.test(name)).map(([, shape]) => shape);
  return { trainable: sum([...graph.shapes.values()]), total: stored + sum(matrices) };
}

/**
 * Mean contrastive loss over held-out pairs, as many together as a step has; those that have nothing to tell apart are
 * passed over.
 */
async function lossOver(
  graph: ClipTrainingGraph,
  pairs: readonly Pair[],
  pixels: (pair: Pair) => Promise<Float32Array>,
  batchSize: number,
  parameters: ReadonlyMap<string, NamedTensor>,
): Promise<number> {
  let sum = 0;
  let compared = 0;
  for (let at = 0; at < pairs.length; at += batchSize) {
    const batch = pairs.slice(at, at + batchSize).map((pair) => asInput(pair, () => pixels(pair)));
    try {
      sum += batch.length * (await graph.loss(batch, parameters));
      compared += batch.length;
    } catch (error) {
      if (!(error instanceof BatchError)) throw error;
    }
  }
  if (compared === 0)
    throw new TrainingError('data', 'no batch of the validation rows has two pairs to tell apart');
  return sum / compared;
}
