import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Tape } from '../autodiff/tape.ts';
import { writeJsonAtomically } from '../checkpoint/atomic-file.ts';
import { readJsonObject } from '../checkpoint/read-json.ts';
import type { TensorSource } from '../checkpoint/safetensors.ts';
import type { LlavaCheckpoint } from '../checkpoint/vision.ts';
import { configJson } from '../checkpoint/write-model.ts';
import { imageTokenCount, imageTokens, projectorShapes, towerShapes } from '../models/llava.ts';
import type { LlavaConfig } from '../models/llava-config.ts';
import type { OnnxGraph, Value } from '../onnx/graph.ts';
import { copyCompanions, fillFolder } from './folder.ts';
import type { ExportReport } from './hugging-face.ts';
import { type OnnxOptions, parameterCount, runtimeConfig, tellWeights, writeOnnxModel } from './onnx.ts';
import { writeDecoderWithPast } from './onnx-graph.ts';
import { exportModelOf, weightsFrom } from './sources.ts';

const EMBEDDINGS = 'model.embed_tokens.weight';
const PREPROCESSOR = 'preprocessor_config.json';

/**
 * Writes a LLaVA in the layout of onnx-community, in float32: onnx/vision_encoder.onnx (tower and projector),
 * embed_tokens.onnx and decoder_model_merged.onnx, and what processors and tokenizers need beside them.
 * @param adapter a LoRA adapter's folder, merged into the decoder
 * @throws CheckpointError when the folder is there already, or a weight is missing
 */
export async function exportOnnxLlava(
  checkpoint: LlavaCheckpoint,
  out: string,
  options: OnnxOptions = {},
  adapter?: string,
): Promise<ExportReport> {
  const { config } = checkpoint;
  const { language } = config;
  const { weights: decoder } = exportModelOf(checkpoint.language, adapter);
  const embeddings = new Map([[EMBEDDINGS, decoder.get(EMBEDDINGS)!]]);
  // A head that is tied to them stands in the decoder's own file.
  if (!language.tieWordEmbeddings) decoder.delete(EMBEDDINGS);
  const vision = new Map<string, TensorSource>([
    ...named('tower.', weightsFrom(checkpoint.tower, towerShapes(config))),
    ...named('projector.', weightsFrom(checkpoint.projector, projectorShapes(config))),
  ]);
  const all = [vision, embeddings, decoder];
  return fillFolder(out, async (folder) => {
    mkdirSync(join(folder, 'onnx'));
    const told = tellWeights(
      all.reduce((sum, { size }) => sum + size, 0),
      options,
    );
    const more = { ...options, told };
    const files = [
      writeOnnxModel(folder, 'vision_encoder', vision, visionEncoder(config), more),
      writeOnnxModel(folder, 'embed_tokens', embeddings, embedTokens(language.hiddenSize), more),
      writeOnnxModel(
        folder,
        'decoder_model_merged',
        decoder,
        (graph, weight) => writeDecoderWithPast(graph, language, weight, true),
        more,
      ),
    ];
    const json = readJsonObject(checkpoint.folder, 'config.json');
    const tokenizer = copyCompanions(checkpoint.folder, folder, json);
    const dataFiles = files.map(([model, ...data]) => [model!.replace('onnx/', ''), data.length] as const);
    writeJsonAtomically(join(folder, 'config.json'), {
      ...configJson(json, 'F32'),
      text_config: {
        ...(json.text_config as object),
        num_key_value_heads: language.keyValueHeads,
        head_dim: language.headDim,
      },
      image_token_index: config.imageToken,
      'transformers.js_config': runtimeConfig(Object.fromEntries(dataFiles)),
    });
    writeProcessor(checkpoint, folder);
    const parameters = all.reduce((sum, weights) => sum + parameterCount(weights), 0);
    return { parameters, bytes: 4 * parameters, files: files.flat(), tokenizer };
  });
}

function visionEncoder(config: LlavaConfig) {
  return (graph: OnnxGraph, weight: (name: string) => Value) => {
    const tape = new Tape(graph);
    const { channels, imageSize } = config.vision;
    const pixels = graph.input('pixel_values', 'float32', ['num_images', channels, imageSize, imageSize]);
    const of = (part: string) => (name: string) => tape.constant(weight(`${part}${name}`));
    const rows = imageTokens(tape, config, pixels, { tower: of('tower.'), projector: of('projector.') });
    const shape = [imageTokenCount(config), config.language.hiddenSize];
    const features = graph.node('Reshape', [rows, graph.ints([-1, ...shape])]);
    graph.output(features, 'image_features', 'float32', ['num_images', ...shape]);
  };
}

function embedTokens(hiddenSize: number) {
  return (graph: OnnxGraph, weight: (name: string) => Value) => {
    const ids = graph.input('input_ids', 'int64', ['batch_size', 'sequence_length']);
    const embeds = graph.node('Gather', [weight(EMBEDDINGS), ids], { axis: { int: 0 } });
    graph.output(embeds, 'inputs_embeds', 'float32', ['batch_size', 'sequence_length', hiddenSize]);
  };
}

/** The image processor as the model has it, and what says how many tokens an image takes. */
function writeProcessor({ folder: from, config }: LlavaCheckpoint, to: string): void {
  const own = existsSync(join(from, 'tokenizer.json')) ? readJsonObject(from, 'tokenizer.json') : {};
  const added = Array.isArray(own.added_tokens) ? own.added_tokens : [];
  const image = added.find(({ id }: { id?: unknown }) => id === config.imageToken)?.content;
  if (existsSync(join(from, PREPROCESSOR))) copyFileSync(join(from, PREPROCESSOR), join(to, PREPROCESSOR));
  writeJsonAtomically(join(to, 'processor_config.json'), {
    processor_class: 'LlavaProcessor',
    image_token: image ?? '<image>',
    patch_size: config.vision.patchSize,
    num_additional_image_tokens: Number(config.withClass),
    vision_feature_select_strategy: config.withClass ? 'full' : 'default',
  });
}

function named(prefix: string, weights: ReadonlyMap<string, TensorSource>): [string, TensorSource][] {
  return [...weights].map(([name, source]) => [`${prefix}${name}`, source]);
}
