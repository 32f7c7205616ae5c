import { add, crossEntropy, layerNorm, linear, reshape, selectRows } from '@landfall/graph/autodiff/ops.ts';
import { Tape, type Tensor } from '@landfall/graph/autodiff/tape.ts';
import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import { visionTower } from '@landfall/graph/models/clip.ts';
import { patchCount, readVisionTower } from '@landfall/graph/models/clip-config.ts';
import type { Value } from '@landfall/graph/onnx/graph.ts';
import { createSession } from '@landfall/graph/onnx/session.ts';
import { SEVERITIES } from '@landfall/surfaces/severity.ts';
import { DEFECT_TYPES } from '@landfall/surfaces/surface.ts';
import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { DEVIATION, MEAN, PLACES, VISION } from './config.ts';
import { BOX_SCALE, CELLS, type Sample, SIDE } from './sample.ts';

const TOWER = readVisionTower(VISION);
const PATCHES = patchCount(TOWER);
const GRID = Math.sqrt(PATCHES);
const IN_PATCH = CELLS / GRID;
/** Standard deviation, in places, of what an edge of a box is taught as. */
const SPREAD = 1.5;
const KINDS = 1 + DEFECT_TYPES.length;
/** Most cells are sound: what is learnt of them counts for more than their share of the error. */
const CELL_WEIGHT = 8;

/** What the heads say, each of what a patch's row holds; they serve the training of the tower and are left behind. */
const HEADS = { cells: IN_PATCH ** 2 * KINDS, severity: SEVERITIES.length, box: 4 * PLACES };

export interface TowerStep {
  loss: number;
  parts: { cells: number; severity: number; box: number };
  gradients: Map<string, Float32Array>;
}

/**
 * The image tower with heads that learn from masks: each patch says what lies in its cells, and a patch of a defect how
 * severe it is and where its box begins and ends. So the tower has learnt to see before the decoder learns to tell.
 */
export class TowerGraph {
  readonly shapes: ReadonlyMap<string, number[]>;
  readonly #session: InferenceSession;

  private constructor(shapes: ReadonlyMap<string, number[]>, session: InferenceSession) {
    this.shapes = shapes;
    this.#session = session;
  }

  /** @param gradients without them a step gives the loss alone */
  static async create(options: { threads: number; gradients: boolean }): Promise<TowerGraph> {
    const tape = new Tape();
    const { graph } = tape;
    const parameters = new Map<string, { tensor: Tensor; shape: number[] }>();
    const weight = (name: string, shape: readonly number[]): Tensor => {
      const known = parameters.get(name);
      if (known) return known.tensor;
      const tensor = tape.parameter(graph.input(name, 'float32', [...shape]));
      parameters.set(name, { tensor, shape: [...shape] });
      return tensor;
    };
    const size = TOWER.hiddenSize;
    const head = (x: Tensor, name: keyof typeof HEADS, columns: number) => {
      const of = `heads.${name}`;
      const y = linear(
        tape,
        x,
        weight(`${of}.weight`, [HEADS[name], size]),
        weight(`${of}.bias`, [HEADS[name]]),
      );
      return reshape(tape, y, graph.ints([-1, columns]), graph.ints([-1, HEADS[name]]));
    };
    const pixels = graph.input('pixels', 'float32', ['B', 3, SIDE, SIDE]);
    const seen = visionTower(tape, TOWER, pixels, weight);
    const patches = selectRows(tape, seen, graph.input('patch_rows', 'int64', ['P']));
    const [gain, shift] = [weight('post_layernorm.weight', [size]), weight('post_layernorm.bias', [size])];
    const rows = layerNorm(tape, patches, gain, shift, TOWER.layerNormEps);
    const found = selectRows(tape, rows, graph.input('defect_rows', 'int64', ['D']));
    const labels = (name: string) => graph.input(name, 'int64', [name]);
    const cells = crossEntropy(tape, head(rows, 'cells', KINDS), labels('cell_labels'));
    const severity = crossEntropy(
      tape,
      head(found, 'severity', SEVERITIES.length),
      labels('severity_labels'),
    );
    const near = graph.input('box_targets', 'float32', ['box_targets', PLACES]);
    const box = softCrossEntropy(tape, head(found, 'box', PLACES), near);
    const factor = graph.float(CELL_WEIGHT);
    const weighted = tape.record(graph.node('Mul', [cells, factor]), [cells], (dy) => [
      graph.node('Mul', [dy, factor]),
    ]);
    const loss = add(tape, weighted, add(tape, severity, box));
    for (const [name, value] of Object.entries({ loss, cells, severity, box })) graph.output(value, name);
    if (options.gradients) {
      const found = tape.gradients(
        loss,
        [...parameters.values()].map(({ tensor }) => tensor),
      );
      for (const [i, name] of [...parameters.keys()].entries()) graph.output(found[i]!, `grad:${name}`);
    }
    const shapes = new Map([...parameters].map(([name, { shape }]) => [name, shape]));
    const session = await createSession(graph.serialize(), new Map(), {
      threads: options.threads,
      prepack: false,
      memoryPattern: false,
    });
    return new TowerGraph(shapes, session);
  }

  async step(samples: readonly Sample[], parameters: ReadonlyMap<string, NamedTensor>): Promise<TowerStep> {
    const feeds: Record<string, OrtTensor> = labelsOf(samples);
    feeds.pixels = new OrtTensor('float32', pixelsOf(samples), [samples.length, 3, SIDE, SIDE]);
    for (const [name, shape] of this.shapes)
      feeds[name] = new OrtTensor('float32', parameters.get(name)!.data, shape);
    const outputs = await this.#session.run(feeds);
    const value = (name: string) => (outputs[name]!.data as Float32Array)[0]!;
    const gradients = new Map<string, Float32Array>();
    for (const name of this.shapes.keys()) {
      const gradient = outputs[`grad:${name}`];
      if (gradient) gradients.set(name, gradient.data as Float32Array);
    }
    return {
      loss: value('loss'),
      parts: { cells: value('cells'), severity: value('severity'), box: value('box') },
      gradients,
    };
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}

/** Mean cross entropy, in nats, of rows of logits with rows of probabilities, both [N, K]. */
function softCrossEntropy(tape: Tape, logits: Tensor, targets: Value): Tensor {
  const { graph } = tape;
  const log = graph.node('LogSoftmax', [logits], { axis: { int: -1 } });
  const rows = graph.node('ReduceSum', [graph.node('Mul', [log, targets]), graph.ints([1])]);
  const loss = graph.node('Neg', [graph.node('ReduceMean', [rows], { keepdims: { int: 0 } })]);
  return tape.record(loss, [logits], (dy) => {
    const count = graph.node('Shape', [logits], { end: { int: 1 } });
    const each = graph.node('Div', [dy, graph.node('Cast', [count], { to: { int: 1 } })]);
    const over = graph.node('Sub', [graph.node('Softmax', [logits], { axis: { int: -1 } }), targets]);
    return [graph.node('Mul', [over, each])];
  });
}

/** For each place its neighbours' probabilities: being off by one is nearly right, and that is learnt sooner. */
const NEAR = Array.from({ length: PLACES }, (_, place) => {
  const weights = Array.from({ length: PLACES }, (_, other) =>
    Math.exp(-((other - place) ** 2) / (2 * SPREAD ** 2)),
  );
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return Float32Array.from(weights, (weight) => weight / sum);
});

/** [B, 3, SIDE, SIDE], normalised as the folder's preprocessor_config.json says. */
export function pixelsOf(samples: readonly { pixels: Uint8Array }[]): Float32Array {
  const plane = SIDE * SIDE;
  const out = new Float32Array(samples.length * 3 * plane);
  for (const [b, { pixels }] of samples.entries())
    for (let c = 0; c < 3; c++)
      for (let at = 0, to = (b * 3 + c) * plane; at < plane; at++, to++)
        out[to] = (pixels[at * 3 + c]! / 255 - MEAN) / DEVIATION;
  return out;
}

function labelsOf(samples: readonly Sample[]): Record<string, OrtTensor> {
  const patchRows: number[] = [];
  const defectRows: number[] = [];
  const cellLabels: number[] = [];
  const severityLabels: number[] = [];
  const boxLabels: number[] = [];
  for (const [b, { cells, targets }] of samples.entries()) {
    for (let patch = 0; patch < PATCHES; patch++) {
      patchRows.push(b * (PATCHES + 1) + 1 + patch);
      const [row, column] = [Math.floor(patch / GRID) * IN_PATCH, (patch % GRID) * IN_PATCH];
      const counts = [0, 0, 0, 0];
      for (let y = 0; y < IN_PATCH; y++) {
        for (let x = 0; x < IN_PATCH; x++) {
          const held = cells[(row + y) * CELLS + column + x]!;
          counts[held]! += 1;
          cellLabels.push(held === 0 ? 0 : 1 + DEFECT_TYPES.indexOf(targets[held - 1]!.type));
        }
      }
      const most = Math.max(...counts.slice(1));
      if (most === 0) continue;
      const { severity, box } = targets[counts.indexOf(most, 1) - 1]!;
      defectRows.push(b * PATCHES + patch);
      severityLabels.push(SEVERITIES.indexOf(severity));
      boxLabels.push(...box.map((place) => Math.min(BOX_SCALE, place)));
    }
  }
  const near = new Float32Array(boxLabels.length * PLACES);
  for (const [row, place] of boxLabels.entries()) near.set(NEAR[place]!, row * PLACES);
  const ints = (values: number[]) =>
    new OrtTensor('int64', BigInt64Array.from(values, BigInt), [values.length]);
  return {
    patch_rows: ints(patchRows),
    defect_rows: ints(defectRows),
    cell_labels: ints(cellLabels),
    severity_labels: ints(severityLabels),
    box_targets: new OrtTensor('float32', near, [boxLabels.length, PLACES]),
  };
}
