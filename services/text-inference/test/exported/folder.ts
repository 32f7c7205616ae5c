/** Small folders in the layout of onnx-community, written with our own graph builder: what all families share. */

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import { writeDecoderWithPast } from '@landfall/graph/export/onnx-graph.ts';
import { readModelConfig } from '@landfall/graph/models/config.ts';
import { OnnxGraph, type Value } from '@landfall/graph/onnx/graph.ts';
import { EOS, random, TINY, tensor, tinyConfig, tinyWeights, writeTokenizer } from '../tiny-model.ts';

export type Json = Record<string, unknown>;

/** A graph whose weights stand in the file itself, random from a seed. */
export class TinyGraph extends OnnxGraph {
  readonly next: () => number;
  readonly #given = new Map<string, Value>();
  #count = 0;

  constructor(next: () => number) {
    super();
    this.next = next;
  }

  /** A weight of the tiny model, once. */
  given(weights: ReadonlyMap<string, NamedTensor>): (name: string) => Value {
    return (name) => {
      const { shape, data } = weights.get(name)!;
      const value = this.#given.get(name) ?? this.weight(name, shape, Float32Array.from(data));
      this.#given.set(name, value);
      return value;
    };
  }

  /** One with a name of its own. */
  random(shape: number[], scale: number): Value {
    const { data } = tensor(this.next, shape, scale);
    return this.weight(`random.${this.#count++}`, shape, Float32Array.from(data));
  }

  /** x [.., inputs] to [.., outputs]. */
  linear(x: Value, inputs: number, outputs: number): Value {
    return this.node('MatMul', [x, this.random([inputs, outputs], 2 / Math.sqrt(inputs))]);
  }

  /** pixels [n, 3, height, width] to [n, patches, hidden]. */
  patches(pixels: Value, patch: number, hidden = TINY.hidden): Value {
    const kernel = this.random([hidden, 3, patch, patch], 1 / patch);
    const size = { ints: [patch, patch] };
    const conv = this.node('Conv', [pixels, kernel], { kernel_shape: size, strides: size });
    const rows = this.node('Reshape', [conv, this.ints([0, hidden, -1])]);
    return this.node('Tanh', [this.node('Transpose', [rows], { perm: { ints: [0, 2, 1] } })]);
  }
}

export interface ExportedFolder {
  /** config.json without what the tiny decoder says of itself. */
  config: Json;
  /** preprocessor_config.json, and processor_config.json where there is one. */
  preprocessor: Json;
  processor?: Json;
  tokenizer: NonNullable<Parameters<typeof writeTokenizer>[1]>;
  seed?: number;
  /** Writes onnx/vision_encoder.onnx. */
  vision(graph: TinyGraph): void;
  /** What onnx/decoder_model_merged.onnx holds in the place of the tiny LLaMA. */
  decoder?(next: () => number, weights: ReadonlyMap<string, NamedTensor>): TinyGraph;
  /** Writes onnx/encoder_model.onnx, where texts are encoded. */
  encoder?(graph: TinyGraph): void;
}

/** Writes the folder. */
export function writeExported(folder: string, options: ExportedFolder): void {
  writeTokenizer(folder, options.tokenizer);
  const json = (name: string, value: Json) =>
    writeFileSync(path.join(folder, name), JSON.stringify(value, null, 2));
  json('config.json', { text_config: tinyConfig(), eos_token_id: EOS, ...options.config });
  json('preprocessor_config.json', options.preprocessor);
  if (options.processor) json('processor_config.json', options.processor);
  json('generation_config.json', { eos_token_id: EOS });
  const next = random(options.seed ?? 1);
  const weights = tinyWeights(next);
  mkdirSync(path.join(folder, 'onnx'), { recursive: true });
  const write = (name: string, graph: TinyGraph) =>
    writeFileSync(path.join(folder, 'onnx', `${name}.onnx`), graph.serialize());
  const filled = (fill: (graph: TinyGraph) => void) => {
    const graph = new TinyGraph(next);
    fill(graph);
    return graph;
  };
  const embed = filled((graph) => {
    const ids = graph.input('input_ids', 'int64', ['batch_size', 'sequence_length']);
    const embeddings = graph.given(weights)('model.embed_tokens.weight');
    graph.output(graph.node('Gather', [embeddings, ids], { axis: { int: 0 } }), 'inputs_embeds');
  });
  write('embed_tokens', embed);
  write('vision_encoder', filled(options.vision));
  const llama = (graph: TinyGraph) =>
    writeDecoderWithPast(graph, readModelConfig(tinyConfig()), graph.given(weights), true);
  write('decoder_model_merged', options.decoder?.(next, weights) ?? filled(llama));
  if (options.encoder) write('encoder_model', filled(options.encoder));
}
