import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Tape } from '../autodiff/tape.ts';
import { writeJsonAtomically } from '../checkpoint/atomic-file.ts';
import { readJsonObject } from '../checkpoint/read-json.ts';
import type { ClipCheckpoint } from '../checkpoint/vision.ts';
import { configJson } from '../checkpoint/write-model.ts';
import type { TowerWeight } from '../models/clip.ts';
import type { ClipConfig, TextTowerConfig } from '../models/clip-config.ts';
import { imageEmbeddings, textEmbeddings } from '../models/clip-embeddings.ts';
import type { OnnxGraph, Value } from '../onnx/graph.ts';
import { clipShapes } from '../training/clip-spec.ts';
import { MASKED } from '../training/packing.ts';
import { copyCompanions, fillFolder } from './folder.ts';
import type { ExportReport } from './hugging-face.ts';
import {
  type OnnxOptions,
  parameterCount,
  runtimeConfig,
  tellWeights,
  type WriteGraph,
  writeOnnxModel,
} from './onnx.ts';
import { weightsFrom } from './sources.ts';

const PREPROCESSOR = 'preprocessor_config.json';
const IMAGES = /^(?:vision_model|visual_projection)\./;
const TEXTS = /^(?:text_model|text_projection)\./;

/**
 * Writes a CLIP in the layout of onnx-community, in float32: onnx/vision_model.onnx (`pixel_values` to `image_embeds`)
 * and onnx/text_model.onnx (`input_ids` to `text_embeds`), and what processors and tokenizers need beside them. The
 * embeddings have length 1, where transformers leaves that to the caller.
 * @throws CheckpointError when the folder is there already, or a weight is missing
 */
export async function exportOnnxClip(
  checkpoint: ClipCheckpoint,
  out: string,
  options: OnnxOptions = {},
): Promise<ExportReport> {
  const { config } = checkpoint;
  const weights = weightsFrom(checkpoint, clipShapes(config));
  const [images, texts] = [IMAGES, TEXTS].map(
    (pattern) => new Map([...weights].filter(([name]) => pattern.test(name))),
  ) as [typeof weights, typeof weights];
  return fillFolder(out, async (folder) => {
    mkdirSync(join(folder, 'onnx'));
    const more = { ...options, told: tellWeights(images.size + texts.size, options) };
    const files = [
      writeOnnxModel(folder, 'vision_model', images, visionModel(config), more),
      writeOnnxModel(folder, 'text_model', texts, textModel(config), more),
    ];
    const json = readJsonObject(checkpoint.folder, 'config.json');
    const tokenizer = copyCompanions(checkpoint.folder, folder, json);
    const dataFiles = files.map(([model, ...data]) => [model!.replace('onnx/', ''), data.length] as const);
    writeJsonAtomically(join(folder, 'config.json'), {
      ...configJson(json, 'F32'),
      'transformers.js_config': runtimeConfig(Object.fromEntries(dataFiles)),
    });
    const processor = join(checkpoint.folder, PREPROCESSOR);
    if (existsSync(processor)) copyFileSync(processor, join(folder, PREPROCESSOR));
    const parameters = parameterCount(images) + parameterCount(texts);
    return { parameters, bytes: 4 * parameters, files: files.flat(), tokenizer };
  });
}

function visionModel(config: ClipConfig): WriteGraph {
  return (graph, weight) => {
    const tape = new Tape(graph);
    const { channels, imageSize } = config.vision;
    const pixels = graph.input('pixel_values', 'float32', ['batch_size', channels, imageSize, imageSize]);
    const embeds = imageEmbeddings(tape, config, pixels, constants(tape, weight));
    graph.output(embeds, 'image_embeds', 'float32', ['batch_size', config.projectionSize]);
  };
}

function textModel(config: ClipConfig): WriteGraph {
  return (graph, weight) => {
    const tape = new Tape(graph);
    const ids = graph.input('input_ids', 'int64', ['batch_size', 'sequence_length']);
    const embeds = textEmbeddings(tape, config, textInputs(graph, config.text, ids), constants(tape, weight));
    graph.output(embeds, 'text_embeds', 'float32', ['batch_size', config.projectionSize]);
  };
}

const constants =
  (tape: Tape, weight: (name: string) => Value): TowerWeight =>
  (name) =>
    tape.constant(weight(name));

/** What the text tower reads, made of the tokens [B, T] alone; what stands behind an end token is not seen from it. */
function textInputs(graph: OnnxGraph, { heads, hiddenSize, endToken }: TextTowerConfig, ids: Value) {
  const shape = graph.node('Shape', [ids]);
  const sizes = [0, 1].map((axis) => graph.node('Gather', [shape, graph.int(axis)], { axis: { int: 0 } }));
  const [batch, length] = sizes as [Value, Value];
  const range = (end: Value) => graph.node('Range', [graph.int(0), end, graph.int(1)]);
  const flat = (value: Value) => graph.node('Reshape', [value, graph.ints([-1])]);
  const places = graph.node('Unsqueeze', [range(length), graph.ints([0])]);
  const before = graph.node('LessOrEqual', [
    places,
    graph.node('Unsqueeze', [range(length), graph.ints([1])]),
  ]);
  // Models that say the end token is 2 were made when the highest token was taken for the end.
  const marked =
    endToken === 2
      ? ids
      : graph.node('Cast', [graph.node('Equal', [ids, graph.int(endToken)])], { to: { int: 7 } });
  const ends = graph.node('ArgMax', [marked], { axis: { int: 1 }, keepdims: { int: 0 } });
  const rows = graph.node('Mul', [range(batch), length]);
  return {
    ids: flat(ids),
    positions: flat(graph.node('Expand', [places, shape])),
    shape: graph.node('Concat', [shape, graph.ints([heads, hiddenSize / heads])], { axis: { int: 0 } }),
    mask: graph.node('Where', [before, graph.float(0), graph.float(MASKED)]),
    ends: graph.node('Add', [rows, ends]),
  };
}
