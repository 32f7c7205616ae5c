import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { crossEntropy, linear, selectRows } from '../autodiff/ops.ts';
import { Tape, type Tensor } from '../autodiff/tape.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import type { NamedTensor } from '../checkpoint/safetensors.ts';
import type { ModelConfig } from '../models/config.ts';
import { ropeTables } from '../models/rope.ts';
import { decoder, headWeightName, weightShapes } from '../models/transformer.ts';
import { createSession } from '../onnx/session.ts';
import { WeightSource } from '../onnx/weights.ts';
import { checkBatch } from './check-batch.ts';
import { type LoraConfig, loraAdapter, loraShapes } from './lora.ts';
import { packedAttention } from './packed-attention.ts';
import { type PackedBatch, packSequences, type Sequence } from './packing.ts';

/** What trains. */
export type TrainableSpec =
  | { method: 'lora'; lora: LoraConfig }
  | { method: 'full' }
  /** Only these weights of the checkpoint. */
  | { method: 'partial'; names: readonly string[] };

export interface TrainingOptions {
  threads: number;
  /** Longest sequence that will come, in tokens; sizes the rotary tables. */
  maxLength: number;
}

/** Loss and gradients of one micro-batch. */
export interface StepResult {
  /** Mean cross entropy over the labels, nats. */
  loss: number;
  /** By parameter name, each in its parameter's shape. */
  gradients: Map<string, Float32Array>;
}

/** Shapes of the trainable tensors of a method, by name. @throws CheckpointError for a name that the model lacks */
export function trainableShapes(config: ModelConfig, spec: TrainableSpec): Map<string, number[]> {
  if (spec.method === 'lora') return loraShapes(config, spec.lora);
  const all = weightShapes(config);
  if (spec.method === 'full') return all;
  const shapeOf = (name: string) => {
    const shape = all.get(name);
    if (!shape) throw new CheckpointError(`the model has no weight ${name} that could be trained`);
    return shape;
  };
  return new Map(spec.names.map((name) => [name, shapeOf(name)]));
}

/**
 * A model with its backward pass in one graph. Parameters are inputs that live in typed arrays on this side; frozen
 * weights are constants in their files and get no gradient. Each run blocks the thread that calls it.
 */
export class TrainingGraph {
  readonly config: ModelConfig;
  /** Shape by name of what trains. */
  readonly shapes: ReadonlyMap<string, number[]>;
  readonly #session: InferenceSession;
  readonly #constants: Record<string, OrtTensor>;
  readonly #maxLength: number;

  private constructor(
    config: ModelConfig,
    shapes: ReadonlyMap<string, number[]>,
    session: InferenceSession,
    constants: Record<string, OrtTensor>,
    maxLength: number,
  ) {
    this.#maxLength = maxLength;
    this.config = config;
    this.shapes = shapes;
    this.#session = session;
    this.#constants = constants;
  }

  /**
   * @param checkpoint in float32; for `full` only its configuration is read
   * @throws CheckpointError for what does not fit
   */
  static async create(
    checkpoint: Checkpoint,
    spec: TrainableSpec,
    options: TrainingOptions,
  ): Promise<TrainingGraph> {
    const { config } = checkpoint;
    const tape = new Tape();
    const { graph } = tape;
    const shapes = trainableShapes(config, spec);
    const parameters = new Map<string, Tensor>();
    for (const [name, shape] of shapes)
      parameters.set(name, tape.parameter(graph.input(name, 'float32', shape)));
    const frozen = new WeightSource(graph, checkpoint);
    const allShapes = weightShapes(config);
    const weight = (name: string): Tensor =>
      parameters.get(name) ?? tape.constant(frozen.get(name, allShapes.get(name)!));

    const ids = graph.input('input_ids', 'int64', ['N']);
    const half = config.headDim / 2;
    const positions = graph.input('position_ids', 'int64', [1, 'N']);
    const angles = (name: string) =>
      graph.node('Gather', [graph.input(name, 'float32', [options.maxLength, half]), positions], {
        axis: { int: 0 },
      });
    const rotation = { cos: angles('rope_cos'), sin: angles('rope_sin'), sinBack: angles('rope_sin_back') };
    const layout = {
      slotRows: graph.input('slot_rows', 'int64', ['S']),
      slotMask: graph.input('slot_mask', 'float32', ['S', 1]),
      rowSlots: graph.input('row_slots', 'int64', ['N']),
      mask: graph.input('attention_mask', 'float32', ['B', 1, 1, 'T', 'T']),
      slotShape: graph.input('slot_shape', 'int64', [4]),
    };
    const labelRows = graph.input('label_rows', 'int64', ['M']);
    const labels = graph.input('labels', 'int64', ['M']);

    const hidden = decoder(tape, config, ids, {
      weight,
      rotation,
      attention: packedAttention(tape, config, layout),
      ...(spec.method === 'lora'
        ? { adapt: loraAdapter(tape, config, spec.lora, (name) => parameters.get(name)!) }
        : {}),
    });
    // Logits only where there is a label.
    const logits = linear(tape, selectRows(tape, hidden, labelRows), weight(headWeightName(config)));
    const loss = crossEntropy(tape, logits, labels);
    graph.output(loss, 'loss');
    const ordered = [...parameters];
    const gradients = tape.gradients(
      loss,
      ordered.map(([, parameter]) => parameter),
    );
    for (const [i, [name]] of ordered.entries()) graph.output(gradients[i]!, `grad:${name}`);

    const session = await createSession(graph.serialize(), frozen.files, { threads: options.threads });
    const { cos, sin } = ropeTables(config, options.maxLength);
    const table = (data: Float32Array) => new OrtTensor('float32', data, [options.maxLength, half]);
    const constants = {
      rope_cos: table(cos),
      rope_sin: table(sin),
      rope_sin_back: table(sin.map((x) => -x)),
    };
    return new TrainingGraph(config, shapes, session, constants, options.maxLength);
  }

  /** Loss and gradients of a micro-batch at the given parameters. @throws BatchError before anything is computed */
  async step(
    sequences: readonly Sequence[],
    parameters: ReadonlyMap<string, NamedTensor>,
  ): Promise<StepResult> {
    const outputs = await this.#session.run(this.#feeds(this.#pack(sequences), parameters));
    const gradients = new Map<string, Float32Array>();
    for (const name of this.shapes.keys()) gradients.set(name, outputs[`grad:${name}`]!.data as Float32Array);
    return { loss: (outputs.loss!.data as Float32Array)[0]!, gradients };
  }

  /** Loss alone. The runtime runs the whole graph whatever is fetched: for many batches a ForwardGraph is faster. */
  async loss(sequences: readonly Sequence[], parameters: ReadonlyMap<string, NamedTensor>): Promise<number> {
    const outputs = await this.#session.run(this.#feeds(this.#pack(sequences), parameters), ['loss']);
    return (outputs.loss!.data as Float32Array)[0]!;
  }

  /** Gives native memory back; not while a step runs. */
  async release(): Promise<void> {
    await this.#session.release();
  }

  #pack(sequences: readonly Sequence[]): PackedBatch {
    const { vocabSize, slidingWindow } = this.config;
    checkBatch(sequences, { vocabSize, maxLength: this.#maxLength, needsLabels: true });
    return packSequences(sequences, slidingWindow);
  }

  #feeds(batch: PackedBatch, parameters: ReadonlyMap<string, NamedTensor>): Record<string, OrtTensor> {
    const { tokens, sequences, longest } = batch;
    const slots = sequences * longest;
    const feeds: Record<string, OrtTensor> = {
      ...this.#constants,
      input_ids: new OrtTensor('int64', batch.ids, [tokens]),
      position_ids: new OrtTensor('int64', batch.positions, [1, tokens]),
      slot_rows: new OrtTensor('int64', batch.slotRows, [slots]),
      slot_mask: new OrtTensor('float32', batch.slotMask, [slots, 1]),
      row_slots: new OrtTensor('int64', batch.rowSlots, [tokens]),
      attention_mask: new OrtTensor('float32', batch.mask, [sequences, 1, 1, longest, longest]),
      slot_shape: new OrtTensor(
        'int64',
        BigInt64Array.from([BigInt(sequences), BigInt(longest), -1n, BigInt(this.config.headDim)]),
        [4],
      ),
      label_rows: new OrtTensor('int64', batch.labelRows, [batch.labelRows.length]),
      labels: new OrtTensor('int64', batch.labels, [batch.labels.length]),
    };
    for (const [name, shape] of this.shapes) {
      feeds[name] = new OrtTensor('float32', parameters.get(name)!.data, shape);
    }
    return feeds;
  }
}
