import type { InferenceSession } from 'onnxruntime-node';
import { add } from '../autodiff/ops.ts';
import { Tape, type Tensor } from '../autodiff/tape.ts';
import type { ClipCheckpoint } from '../checkpoint/vision.ts';
import type { TowerWeight } from '../models/clip.ts';
import { imageEmbeddings, textEmbeddings } from '../models/clip-embeddings.ts';
import type { Provider } from '../onnx/provider.ts';
import { createSession } from '../onnx/session.ts';
import { WeightSource } from '../onnx/weights.ts';
import { clipLoraProduct, clipOwnWeights } from './clip-lora.ts';
import { type ClipSpec, clipTrainable, LOGIT_SCALE } from './clip-spec.ts';
import { contrastiveLoss, productWith } from './contrastive-loss.ts';

/**
 * `whole`: from pairs to the loss and its gradients. In parts: `embed`, from pairs to their vectors; `compare`, from
 * vectors to the loss and its gradients by them; `backward`, from pairs and those to the gradients of what trains.
 */
export type ClipGraphName = 'whole' | 'embed' | 'compare' | 'backward';

/** The graphs of a training, each made when it is first asked for. */
export interface ClipGraphs {
  /** @throws CheckpointError for what does not fit the checkpoint */
  check(): void;
  session(name: ClipGraphName): Promise<InferenceSession>;
  release(): Promise<void>;
}

interface Written {
  tape: Tape;
  files: ReadonlyMap<string, string>;
}

export function clipGraphs(
  checkpoint: ClipCheckpoint,
  spec: ClipSpec,
  options: { threads: number; provider: Provider },
): ClipGraphs {
  const write = {
    whole: () => writeWhole(checkpoint, spec),
    embed: () => writeEmbed(checkpoint, spec),
    compare: () => writeCompare(checkpoint.config.projectionSize),
    backward: () => writeBackward(checkpoint, spec),
  };
  const sessions = new Map<ClipGraphName, Promise<InferenceSession>>();
  const open = (name: ClipGraphName) => {
    const { tape, files } = write[name]();
    return createSession(tape.graph.serialize(), files, { ...options, prepack: false, memoryPattern: false });
  };
  return {
    check: () => void write.embed(),
    async session(name) {
      const known = sessions.get(name) ?? open(name);
      sessions.set(name, known);
      return known;
    },
    async release() {
      for (const session of sessions.values()) await (await session).release();
    },
  };
}

function writeWhole(checkpoint: ClipCheckpoint, spec: ClipSpec): Written {
  const { tape, files, images, texts, parameters } = writeTowers(checkpoint, spec, true);
  const { graph } = tape;
  const scale = tape.parameter(graph.input(LOGIT_SCALE, 'float32', []));
  const loss = contrastiveLoss(tape, images, texts, scale, comparedInputs(tape));
  graph.output(loss, 'loss');
  outputGradients(tape, loss, new Map([...parameters, [LOGIT_SCALE, scale]]));
  return { tape, files };
}

function writeEmbed(checkpoint: ClipCheckpoint, spec: ClipSpec): Written {
  const { tape, files, images, texts } = writeTowers(checkpoint, spec, false);
  tape.graph.output(images, 'images');
  tape.graph.output(texts, 'texts');
  return { tape, files };
}

function writeCompare(projectionSize: number): Written {
  const tape = new Tape();
  const { graph } = tape;
  const vectors = (name: string) => tape.parameter(graph.input(name, 'float32', ['B', projectionSize]));
  const [images, texts] = [vectors('images'), vectors('texts')];
  const scale = tape.parameter(graph.input(LOGIT_SCALE, 'float32', []));
  const loss = contrastiveLoss(tape, images, texts, scale, comparedInputs(tape));
  graph.output(loss, 'loss');
  const gradients = tape.gradients(loss, [images, texts, scale]);
  for (const [i, name] of ['by_images', 'by_texts', 'by_scale'].entries()) graph.output(gradients[i]!, name);
  return { tape, files: new Map() };
}

function writeBackward(checkpoint: ClipCheckpoint, spec: ClipSpec): Written {
  const { tape, files, images, texts, parameters } = writeTowers(checkpoint, spec, true);
  const size = ['B', checkpoint.config.projectionSize];
  const by = (name: string) => tape.graph.input(name, 'float32', size);
  const along = add(
    tape,
    productWith(tape, images, by('by_images')),
    productWith(tape, texts, by('by_texts')),
  );
  outputGradients(tape, along, parameters);
  return { tape, files };
}

function comparedInputs({ graph }: Tape) {
  return {
    targets: graph.input('targets', 'float32', ['B', 'B']),
    mask: graph.input('left_out', 'float32', ['B', 'B']),
  };
}

function outputGradients(tape: Tape, loss: Tensor, parameters: ReadonlyMap<string, Tensor>): void {
  const gradients = tape.gradients(loss, [...parameters.values()]);
  for (const [i, name] of [...parameters.keys()].entries()) tape.graph.output(gradients[i]!, `grad:${name}`);
}

/** Both towers and projections over a batch of pairs; what trains, but for the scale of the logits, is an input. */
function writeTowers(checkpoint: ClipCheckpoint, spec: ClipSpec, trains: boolean) {
  const { config } = checkpoint;
  const tape = new Tape();
  const { graph } = tape;
  const parameters = new Map<string, Tensor>();
  for (const [name, shape] of clipTrainable(config, spec)) {
    if (name === LOGIT_SCALE) continue;
    const input = graph.input(name, 'float32', shape);
    parameters.set(name, trains ? tape.parameter(input) : tape.constant(input));
  }
  const weights = new WeightSource(graph, checkpoint);
  // What trains beside an adapter stands under peft's name for it.
  const names = new Map(
    'lora' in spec ? [...clipOwnWeights(spec.lora)].map(([own, name]) => [name, own]) : [],
  );
  const weight: TowerWeight = (name, shape) =>
    parameters.get(names.get(name) ?? name) ?? tape.constant(weights.get(name, shape));
  const product =
    'lora' in spec
      ? clipLoraProduct(tape, config, spec.lora, weight, (name) => parameters.get(name)!)
      : undefined;
  const { channels, imageSize } = config.vision;
  const pixels = graph.input('pixels', 'float32', ['B', channels, imageSize, imageSize]);
  const images = imageEmbeddings(tape, config, pixels, weight, product);
  const inputs = {
    ids: graph.input('ids', 'int64', ['N']),
    positions: graph.input('positions', 'int64', ['N']),
    shape: graph.input('shape', 'int64', [4]),
    mask: graph.input('mask', 'float32', ['T', 'T']),
    ends: graph.input('ends', 'int64', ['B']),
  };
  const texts = textEmbeddings(tape, config, inputs, weight, product);
  return { tape, files: weights.files, images, texts, parameters };
}
