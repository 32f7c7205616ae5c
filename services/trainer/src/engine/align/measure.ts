import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { openClip } from '@landfall/graph/checkpoint/vision.ts';
import { ClipEncoder } from '@landfall/graph/vision/clip-encoder.ts';
import { checkFolder } from '../data/files.ts';
import { TrainingError } from '../train/errors.ts';
import { PairImages } from './pair-images.ts';
import { keysOf, openEncoder } from './pairs.ts';
import {
  candidatesOf,
  classRanks,
  LABEL_PLACE,
  meanVectors,
  type Retrieval,
  type RetrievalRanks,
  retrievalRanks,
  retrievalScores,
  type Vectors,
} from './retrieval.ts';

/** What is measured, from folder to figures. Plain data: it crosses threads. */
export interface RetrievalTask {
  /** Configuration and weights. */
  modelFolder: string;
  /** Tokenizer and image processor, which a tuned model has of its base. */
  readerFolder: string;
  datasetFolder: string;
  /** Where weights that are stored in 16 bits are kept in 32. */
  weightCacheFolder: string;
  /** With `{label}`. */
  classTemplates: string[];
  threads: number;
}

/** Figures of a model on a data set, and what they were made of. */
export interface MeasuredRetrieval {
  retrieval: Retrieval;
  /** In the order in which images, and texts, come first in the data set: the same for every model. */
  ranks: RetrievalRanks;
  /** Of the data set. */
  rows: number;
}

/** Images, and texts, that go through a tower at once. */
const AT_ONCE = 16;

/**
 * Embeds the images and captions of a data set's pairs and measures how they find one another.
 *
 * @param onEmbedded told how many images and texts have vectors, of how many
 * @param stop looked at between batches
 * @returns undefined where it was stopped
 * @throws TrainingError for a model or rows that can't be measured
 */
export async function measureRetrieval(
  task: RetrievalTask,
  onEmbedded: (done: number, all: number) => void = () => {},
  stop: () => boolean = () => false,
): Promise<MeasuredRetrieval | undefined> {
  const { examples } = await checkFolder(task.datasetFolder, false);
  const other = examples.find(({ pair }) => !pair);
  if (other || examples.length === 0)
    throw new TrainingError('data', `row ${other?.row ?? 1} is no image with its caption`);
  const { images, encoder, checkpoint } = await open(task);
  try {
    const { projectionSize: size, text } = checkpoint.config;
    const encode = await openEncoder(task.readerFolder, text.maxPositions);
    const keys = examples.map(keysOf);
    const found = candidatesOf(keys);
    const labels = found.images.map((row) => keys[row]!.label);
    const names = [...new Set(labels.filter((label) => label !== ''))].sort();
    const classTexts = names.length < 2 ? [] : names.flatMap((name) => named(task.classTemplates, name));
    const all = found.images.length + found.texts.length + classTexts.length;
    let done = 0;
    const inBatches = async <Item>(
      items: readonly Item[],
      embed: (batch: readonly Item[]) => Promise<Float32Array>,
    ) => {
      const values = new Float32Array(items.length * size);
      for (let at = 0; at < items.length; at += AT_ONCE) {
        if (stop()) return undefined;
        const batch = items.slice(at, at + AT_ONCE);
        values.set(await embed(batch), at * size);
        done += batch.length;
        onEmbedded(done, all);
      }
      return { size, values } satisfies Vectors;
    };
    const textsOf = (texts: readonly string[]) => encoder.texts(texts.map((one) => encode(one).ids));
    const seen = await inBatches(found.images, (rows) =>
      imagesOf(
        encoder,
        images,
        rows.map((row) => examples[row]!.images![0]!),
      ),
    );
    const said = await inBatches(found.texts, (rows) => textsOf(rows.map((row) => examples[row]!.answer)));
    const asked = await inBatches(classTexts, textsOf);
    if (!seen || !said || !asked) return undefined;
    const classes = meanVectors(asked, task.classTemplates.length);
    const ranks = retrievalRanks(found, seen, said, classRanks(seen, labels, names, classes));
    return { retrieval: retrievalScores(ranks, names.length), ranks, rows: examples.length };
  } finally {
    await encoder.release();
  }
}

const named = (templates: readonly string[], label: string) =>
  templates.map((template) => template.replaceAll(LABEL_PLACE, () => label));

async function open({ modelFolder, readerFolder, weightCacheFolder, threads }: RetrievalTask) {
  try {
    const checkpoint = openClip(modelFolder);
    const images = new PairImages(readerFolder, checkpoint.config.vision.imageSize, 0);
    const encoder = await ClipEncoder.create(checkpoint, { threads, cacheFolder: weightCacheFolder });
    return { checkpoint, images, encoder };
  } catch (error) {
    if (error instanceof CheckpointError)
      throw new TrainingError('model', `the model can't be measured: ${error.message}`);
    throw error;
  }
}

async function imagesOf(
  encoder: ClipEncoder,
  images: PairImages,
  shown: readonly Parameters<PairImages['pixels']>[0][],
): Promise<Float32Array> {
  const pixels: Float32Array[] = [];
  // One after the other: a decoded image may take 75 MB.
  for (const image of shown) pixels.push(await images.pixels(image));
  const size = pixels[0]!.length;
  const stacked = new Float32Array(size * pixels.length);
  for (const [i, one] of pixels.entries()) stacked.set(one, i * size);
  return encoder.images(stacked);
}
