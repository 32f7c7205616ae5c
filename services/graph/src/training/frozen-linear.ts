import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { DYNAMIC_CODE, MAXIMA_BLOCK, NF4_VALUES, quantizeMaxima, quantizeNf4 } from '../checkpoint/nf4.ts';
import { readFloat32 } from '../checkpoint/safetensors.ts';
import type { OnnxGraph, Value } from '../onnx/graph.ts';

/** How a frozen linear layer's weight is kept for the forward pass. */
export type FrozenPrecision = 'float32' | 'nf4' | 'int8';

/** A frozen linear layer in another precision: adds nodes for x W^T + b and the gradient of x. */
export type FrozenLinear = (module: string, x: Tensor, bias: Tensor | undefined) => Tensor;

const NF4_BLOCK = 64;
const INT32 = { to: { int: 6 } } as const;

/** Weights in another precision. NF4 is fed to the session: an input is never unpacked into a float copy ahead. */
export class FrozenWeights {
  readonly feeds: Record<string, OrtTensor> = {};
  readonly #checkpoint: Checkpoint;

  constructor(checkpoint: Checkpoint) {
    this.#checkpoint = checkpoint;
  }

  /** Bytes of all that is fed. */
  get byteLength(): number {
    return Object.values(this.feeds).reduce((sum, { data }) => sum + (data as Uint8Array).byteLength, 0);
  }

  /** Packs weights [M, K]: values in NF4, block maxima in 8 bits; those of one layer in one tensor. */
  addNf4(modules: ReadonlyMap<string, readonly [number, number]>): void {
    for (const [layer, parts] of byLayer(modules)) {
      if (this.feeds[`nf4_maxima:${layer}`]) continue;
      const groups = parts.reduce((sum, part) => sum + part.groups, 0);
      // Whole groups of maxima, so that the graph can lay them out in rows.
      const all = new Uint8Array(groups * MAXIMA_BLOCK);
      const [scales, offsets] = [new Float32Array(groups), new Float32Array(groups)];
      for (const { module, shape, blocks, first, groups } of parts) {
        const { packed, absmax } = quantizeNf4(this.#read(module), shape, NF4_BLOCK);
        const maxima = quantizeMaxima(absmax);
        all.set(maxima.codes, first * MAXIMA_BLOCK);
        scales.set(maxima.scales, first);
        offsets.fill(maxima.offset, first, first + groups);
        const whole = new Uint8Array(blocks * (NF4_BLOCK / 2));
        whole.set(packed);
        this.feeds[`nf4:${module}`] = new OrtTensor('uint8', whole, [blocks, NF4_BLOCK / 2]);
      }
      this.feeds[`nf4_maxima:${layer}`] = new OrtTensor('uint8', all, [groups, MAXIMA_BLOCK]);
      this.feeds[`nf4_scales:${layer}`] = new OrtTensor('float32', scales, [groups, 1]);
      this.feeds[`nf4_offsets:${layer}`] = new OrtTensor('float32', offsets, [groups, 1]);
    }
  }

  /**
   * A weight [M, K] rounded to 8 bits with a scale for each output, laid out as [K, M]. It stands in the graph: only a
   * constant is laid out for the processor's 8-bit products.
   */
  int8(graph: OnnxGraph, module: string, [outputs, inputs]: readonly [number, number]): [Value, Value] {
    const weight = this.#read(module);
    const rounded = new Int8Array(outputs * inputs);
    const scales = new Float32Array(outputs);
    for (let o = 0; o < outputs; o++) {
      const row = weight.subarray(o * inputs, (o + 1) * inputs);
      let largest = 0;
      for (let i = 0; i < inputs; i++) largest = Math.max(largest, Math.abs(row[i]!));
      const scale = largest / 127 || 1;
      scales[o] = scale;
      for (let i = 0; i < inputs; i++) rounded[i * outputs + o] = Math.round(row[i]! / scale);
    }
    return [
      graph.bytes(`int8:${module}`, 'int8', [inputs, outputs], rounded),
      graph.weight(`int8_scales:${module}`, [outputs], scales),
    ];
  }

  #read(module: string): Float32Array {
    const entry = this.#checkpoint.tensors.get(`${module}.weight`)!;
    return readFloat32(entry.file, entry);
  }
}

/** Where a weight's maxima lie among those of its layer. */
interface Nf4Part {
  module: string;
  shape: readonly [number, number];
  /** Blocks of the weight, each with a maximum; the last may be short. */
  blocks: number;
  /** Groups of maxima, and those of the layer before them. */
  groups: number;
  first: number;
}

/**
 * Weights of one layer together: the time that the runtime takes to make a session grows with the square of the number
 * of nodes.
 */
function byLayer(modules: ReadonlyMap<string, readonly [number, number]>): Map<string, Nf4Part[]> {
  const layers = new Map<string, Nf4Part[]>();
  for (const [module, shape] of modules) {
    const layer = /^model\.layers\.\d+/.exec(module)?.[0] ?? module;
    const parts = layers.get(layer) ?? [];
    layers.set(layer, parts);
    const last = parts.at(-1);
    const blocks = Math.ceil((shape[0] * shape[1]) / NF4_BLOCK);
    const groups = Math.ceil(blocks / MAXIMA_BLOCK);
    parts.push({ module, shape, blocks, groups, first: last ? last.first + last.groups : 0 });
  }
  return layers;
}

/**
 * Linear layers whose weight is packed in NF4 (Dettmers et al. 2023). Forward by the runtime's own operator; backward
 * through the unpacked weight, one at a time.
 * @param modules those that `addNf4` has packed
 */
export function nf4Linear(tape: Tape, modules: ReadonlyMap<string, readonly [number, number]>): FrozenLinear {
  const { graph } = tape;
  const pairs = new Float32Array(512);
  for (let byte = 0; byte < 256; byte++) {
    pairs[2 * byte] = NF4_VALUES[byte >> 4]!;
    pairs[2 * byte + 1] = NF4_VALUES[byte & 15]!;
  }
  const table = graph.weight('nf4_pairs', [256, 2], pairs);
  const code = graph.weight('nf4_dynamic_code', [256], DYNAMIC_CODE);
  const rows = { axis: { int: 0 } } as const;
  const known = new Map<string, { packed: Value; maxima: Value }>();
  for (const [layer, parts] of byLayer(modules)) {
    const groups = parts.reduce((sum, part) => sum + part.groups, 0);
    const codes = graph.input(`nf4_maxima:${layer}`, 'uint8', [groups, MAXIMA_BLOCK]);
    const scales = graph.input(`nf4_scales:${layer}`, 'float32', [groups, 1]);
    const offsets = graph.input(`nf4_offsets:${layer}`, 'float32', [groups, 1]);
    const values = graph.node('Gather', [code, graph.node('Cast', [codes], INT32)], rows);
    const all = graph.node('Add', [graph.node('Mul', [values, scales]), offsets]);
    const flat = graph.node('Reshape', [all, graph.ints([-1, 1, 1])]);
    for (const { module, blocks, first } of parts) {
      const from = first * MAXIMA_BLOCK;
      known.set(module, {
        packed: graph.input(`nf4:${module}`, 'uint8', [blocks, NF4_BLOCK / 2]),
        maxima: graph.node('Slice', [flat, graph.ints([from]), graph.ints([from + blocks])]),
      });
    }
  }
  return (module, x, bias) => {
    const [outputs, inputs] = modules.get(module)!;
    const size = outputs * inputs;
    const { packed, maxima } = known.get(module)!;
    const product = graph.node('ms.MatMulBnb4', [x, packed, maxima], {
      K: { int: inputs },
      N: { int: outputs },
      block_size: { int: NF4_BLOCK },
      quant_type: { int: 1 },
    });
    const y = bias ? graph.node('Add', [product, bias]) : product;
    return tape.record(y, bias ? [x, bias] : [x], (dy) => [
      x.needsGrad ? graph.node('MatMul', [dy, unpack(dy)]) : undefined,
      bias?.needsGrad ? graph.node('ReduceSum', [dy, graph.ints([0])], { keepdims: { int: 0 } }) : undefined,
    ]);

    /** What the last block was filled up with is taken away. */
    function emptied(blocks: Value): Value {
      if (size % NF4_BLOCK === 0) return blocks;
      const flat = graph.node('Reshape', [blocks, graph.ints([-1])]);
      return graph.node('Slice', [flat, graph.ints([0]), graph.ints([size])]);
    }

    /** Not before the gradient is there: the runtime would unpack every layer at the start. */
    function unpack(dy: Value): Value {
      const rowCount = graph.node('Shape', [dy], { start: { int: 0 }, end: { int: 1 } });
      const begin = graph.node('Mul', [rowCount, graph.ints([0])]);
      const late = graph.node('Slice', [packed, begin, graph.ints([Math.ceil(size / NF4_BLOCK)])]);
      const values = graph.node('Gather', [table, graph.node('Cast', [late], INT32)], rows);
      const scaled = graph.node('Mul', [values, maxima]);
      return graph.node('Reshape', [emptied(scaled), graph.ints([outputs, inputs])]);
    }
  };
}

/**
 * Linear layers with an 8-bit forward pass: each row of x and each output of the weight has a scale of its own, so that
 * a row's result does not depend on its neighbours. The gradient of x is taken through the float32 weight (the rounding
 * is passed straight through; Bengio et al. 2013).
 */
export function int8Linear(
  tape: Tape,
  modules: ReadonlyMap<string, [number, number]>,
  frozen: FrozenWeights,
  weight: (name: string) => Tensor,
): FrozenLinear {
  const { graph } = tape;
  const middle = graph.bytes('int8_middle', 'uint8', [], Uint8Array.of(128));
  // q, k and v share an input, and so do gate and up.
  const rounded = new Map<string, { values: Value; scale: Value }>();
  // A layer that is computed again has the same weights.
  const weights = new Map<string, [Value, Value]>();
  const round = (x: Tensor) => {
    let found = rounded.get(x.name);
    if (!found) {
      const largest = graph.node('ReduceMax', [graph.node('Abs', [x]), graph.ints([-1])]);
      const scale = graph.node('Max', [
        graph.node('Mul', [largest, graph.float(1 / 127)]),
        graph.float(1e-30),
      ]);
      const values = graph.node('QuantizeLinear', [graph.node('Div', [x, scale]), graph.float(1), middle]);
      found = { values, scale };
      rounded.set(x.name, found);
    }
    return found;
  };
  return (module, x, bias) => {
    const { values, scale } = round(x);
    let known = weights.get(module);
    if (!known) {
      known = frozen.int8(graph, module, modules.get(module)!);
      weights.set(module, known);
    }
    const [packed, scales] = known;
    const product = graph.node('ms.MatMulIntegerToFloat', [values, packed, graph.float(1), scales, middle]);
    const scaled = graph.node('Mul', [product, scale]);
    const y = bias ? graph.node('Add', [scaled, bias]) : scaled;
    return tape.record(y, bias ? [x, bias] : [x], (dy) => [
      x.needsGrad ? graph.node('MatMul', [dy, weight(`${module}.weight`)]) : undefined,
      bias?.needsGrad ? graph.node('ReduceSum', [dy, graph.ints([0])], { keepdims: { int: 0 } }) : undefined,
    ]);
  };
}
