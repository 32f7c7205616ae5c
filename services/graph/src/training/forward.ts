import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { crossEntropy, linear, selectRows } from '../autodiff/ops.ts';
import { Tape } from '../autodiff/tape.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { ModelConfig } from '../models/config.ts';
import { ropeTables } from '../models/rope.ts';
import { decoder, headWeightName, weightShapes } from '../models/transformer.ts';
import { createSession } from '../onnx/session.ts';
import { WeightSource } from '../onnx/weights.ts';
import { checkBatch } from './check-batch.ts';
import { packedAttention } from './packed-attention.ts';
import { packSequences, type Sequence } from './packing.ts';

/** A checkpoint's plain forward pass: logits of every token, and the loss where labels are. */
export class ForwardGraph {
  readonly config: ModelConfig;
  readonly #session: InferenceSession;

  private constructor(config: ModelConfig, session: InferenceSession) {
    this.config = config;
    this.#session = session;
  }

  /** @param checkpoint in float32 */
  static async create(checkpoint: Checkpoint, threads: number): Promise<ForwardGraph> {
    const { config } = checkpoint;
    const tape = new Tape();
    const { graph } = tape;
    const weights = new WeightSource(graph, checkpoint);
    const shapes = weightShapes(config);
    const weight = (name: string) => tape.constant(weights.get(name, shapes.get(name)!));
    const half = config.headDim / 2;
    const ids = graph.input('input_ids', 'int64', ['N']);
    const cos = graph.input('cos', 'float32', [1, 'N', half]);
    const sin = graph.input('sin', 'float32', [1, 'N', half]);
    const layout = {
      slotRows: graph.input('slot_rows', 'int64', ['S']),
      slotMask: graph.input('slot_mask', 'float32', ['S', 1]),
      rowSlots: graph.input('row_slots', 'int64', ['N']),
      mask: graph.input('attention_mask', 'float32', ['B', 1, 1, 'T', 'T']),
      slotShape: graph.input('slot_shape', 'int64', [4]),
    };
    const labelRows = graph.input('label_rows', 'int64', ['M']);
    const labels = graph.input('labels', 'int64', ['M']);
    const rotation = { cos, sin, sinBack: sin };
    const hidden = decoder(tape, config, ids, {
      weight,
      rotation,
      attention: packedAttention(tape, config, layout),
    });
    const logits = linear(tape, hidden, weight(headWeightName(config)));
    graph.output(logits, 'logits');
    graph.output(crossEntropy(tape, selectRows(tape, logits, labelRows), labels), 'loss');
    return new ForwardGraph(config, await createSession(graph.serialize(), weights.files, { threads }));
  }

  /** @returns logits [N, vocabSize], sequences one after the other; the mean loss in nats (NaN without labels). @throws BatchError */
  async run(sequences: readonly Sequence[]): Promise<{ logits: Float32Array; loss: number }> {
    const { config } = this;
    checkBatch(sequences, {
      vocabSize: config.vocabSize,
      maxLength: config.maxPositions,
      needsLabels: false,
    });
    const batch = packSequences(sequences, config.slidingWindow);
    const { tokens, longest } = batch;
    const half = config.headDim / 2;
    const tables = ropeTables(config, longest);
    const angles = (table: Float32Array) => {
      const data = new Float32Array(tokens * half);
      for (const [row, position] of batch.positions.entries()) {
        data.set(table.subarray(Number(position) * half, (Number(position) + 1) * half), row * half);
      }
      return new OrtTensor('float32', data, [1, tokens, half]);
    };
    const slots = batch.sequences * longest;
    const outputs = await this.#session.run(
      {
        input_ids: new OrtTensor('int64', batch.ids, [tokens]),
        cos: angles(tables.cos),
        sin: angles(tables.sin),
        slot_rows: new OrtTensor('int64', batch.slotRows, [slots]),
        slot_mask: new OrtTensor('float32', batch.slotMask, [slots, 1]),
        row_slots: new OrtTensor('int64', batch.rowSlots, [tokens]),
        attention_mask: new OrtTensor('float32', batch.mask, [batch.sequences, 1, 1, longest, longest]),
        slot_shape: new OrtTensor(
          'int64',
          BigInt64Array.from([BigInt(batch.sequences), BigInt(longest), -1n, BigInt(config.headDim)]),
          [4],
        ),
        label_rows: new OrtTensor('int64', batch.labelRows, [batch.labelRows.length]),
        labels: new OrtTensor('int64', batch.labels, [batch.labels.length]),
      },
      batch.labels.length > 0 ? ['logits', 'loss'] : ['logits'],
    );
    return {
      logits: outputs.logits!.data as Float32Array,
      loss: (outputs.loss?.data as Float32Array | undefined)?.[0] ?? Number.NaN,
    };
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}
