import { OnnxGraph, type Value } from '../onnx/graph.ts';

/** A value on the tape. Only those that lead to a parameter carry gradients. */
export interface Tensor extends Value {
  readonly needsGrad: boolean;
}

/** Gradients of an operation's inputs from that of its output; undefined where an input needs none. */
export type GradientRule = (dy: Value) => (Value | undefined)[];

interface Entry {
  inputs: readonly Tensor[];
  output: Tensor;
  rule: GradientRule;
}

/**
 * Records operations as they are built, and writes the backward pass as ordinary nodes of the same graph: one walk
 * over the records in reverse, each with its rule (reverse mode; Griewank and Walther, Evaluating Derivatives, 3.2).
 */
export class Tape {
  readonly graph: OnnxGraph;
  readonly #entries: Entry[] = [];

  constructor(graph = new OnnxGraph()) {
    this.graph = graph;
  }

  /** A value that does not train. */
  constant(value: Value): Tensor {
    return { name: value.name, needsGrad: false };
  }

  /** A value whose gradient is wanted. */
  parameter(value: Value): Tensor {
    return { name: value.name, needsGrad: true };
  }

  /** Records an operation; its rule is kept only where a gradient can pass. */
  record(output: Value, inputs: readonly Tensor[], rule: GradientRule): Tensor {
    const needsGrad = inputs.some((input) => input.needsGrad);
    const tensor = { name: output.name, needsGrad };
    if (needsGrad) this.#entries.push({ inputs, output: tensor, rule });
    return tensor;
  }

  /** Writes the backward pass from a scalar loss; the gradient of each parameter, in order. */
  gradients(loss: Tensor, parameters: readonly Tensor[]): Value[] {
    const sums = new Map<string, Value>([[loss.name, this.graph.float(1)]]);
    for (const { inputs, output, rule } of this.#entries.toReversed()) {
      const dy = sums.get(output.name);
      // Nothing that the loss depends on comes of this output.
      if (!dy) continue;
      sums.delete(output.name);
      const gradients = rule(dy);
      for (const [i, input] of inputs.entries()) {
        const gradient = gradients[i];
        if (!input.needsGrad || !gradient) continue;
        const before = sums.get(input.name);
        sums.set(input.name, before ? this.graph.node('Add', [before, gradient]) : gradient);
      }
    }
    return parameters.map((parameter) => {
      const gradient = sums.get(parameter.name);
      if (!gradient) throw new Error(`the loss does not depend on ${parameter.name}`);
      return gradient;
    });
  }
}
