import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { Tape, type Tensor } from '../src/autodiff/tape.ts';
import type { Value } from '../src/onnx/graph.ts';
import { createSession } from '../src/onnx/session.ts';

/** Writes an operation's forward pass. @param ints integer inputs, by name */
export type Build = (tape: Tape, inputs: Tensor[], ints: Record<string, Value>) => Tensor;

/** An operation with the sizes that it is checked at. */
export interface GradientCase {
  /** Shapes of the inputs whose gradients are checked. */
  shapes: number[][];
  /** Integer inputs [n]. */
  ints?: Record<string, readonly number[]>;
  build: Build;
  /** What else the graph is fed; called after `build`. */
  feeds?: () => Record<string, OrtTensor>;
  /** The function whose gradient the rule gives, where it is not the operation's own (a rounded product). */
  differentiable?: Build;
  /** Half the distance of central differences, where the function is straight enough for more than 1 / 128. */
  step?: number;
}

const size = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1);

/** Tells where in the sources the gradient rules were recorded that are carried out. */
class WatchedTape extends Tape {
  readonly carriedOut = new Set<string>();

  override record(...[output, inputs, rule]: Parameters<Tape['record']>): Tensor {
    const caller = new Error().stack!.split('\n')[2]!;
    const site = /([\w-]+\.ts):(\d+):\d+\)?$/.exec(caller);
    return super.record(output, inputs, (dy) => {
      if (site) this.carriedOut.add(`${site[1]}:${site[2]}`);
      return rule(dy);
    });
  }
}

/**
 * Compares the written backward pass with central differences of the forward pass. The loss is a fixed random
 * combination of the output's values, so every one of them is looked at.
 * @returns the largest difference, relative to 1 + the gradient's size
 */
export async function checkGradient(test: GradientCase, random: () => number): Promise<number> {
  const values = test.shapes.map((shape) =>
    Float32Array.from({ length: size(shape) }, () => 2 * random() - 1),
  );
  const feeds = () => ({
    ...Object.fromEntries(
      values.map((data, i) => [`x${i}`, new OrtTensor('float32', data, test.shapes[i]!)]),
    ),
    ...Object.fromEntries(
      Object.entries(test.ints ?? {}).map(([name, list]) => [
        name,
        new OrtTensor('int64', BigInt64Array.from(list, BigInt), [list.length]),
      ]),
    ),
    ...test.feeds?.(),
  });
  const forward = await forwardSession(test.differentiable ?? test.build, test);
  const at = async () => (await run(forward, feeds())).y as Float32Array;
  const mix = Float32Array.from({ length: (await at()).length }, () => 2 * random() - 1);
  const backward = await backwardSession(test);
  const gradients = await run(backward, {
    ...feeds(),
    mix: new OrtTensor('float32', mix, [mix.length]),
  });
  await backward.release();
  // Summed here in double precision: the difference of two nearby losses must not drown in rounding.
  const lossAt = async () => (await at()).reduce((sum, value, i) => sum + value * mix[i]!, 0);
  let worst = 0;
  const step = test.step ?? 1 / 128;
  for (const [i, data] of values.entries()) {
    const gradient = gradients[`g${i}`] as Float32Array;
    if (gradient.length !== data.length) return Number.POSITIVE_INFINITY;
    for (let k = 0; k < data.length; k++) {
      const before = data[k]!;
      data[k] = before + step;
      const above = await lossAt();
      data[k] = before - step;
      const below = await lossAt();
      data[k] = before;
      const numeric = (above - below) / (2 * step);
      const difference = Math.abs(numeric - gradient[k]!) / (1 + Math.abs(numeric));
      if (!(difference <= worst)) worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
    }
  }
  await forward.release();
  return worst;
}

/** Feeds what the session asks for. */
async function run(session: InferenceSession, feeds: Record<string, OrtTensor>) {
  const asked = Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]!]));
  const outputs = await session.run(asked);
  return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data]));
}

function inputsOf({ shapes, ints = {} }: GradientCase, tape: Tape, trains: boolean) {
  const { graph } = tape;
  const inputs = shapes.map((shape, i) => {
    const value = graph.input(`x${i}`, 'float32', shape);
    return trains ? tape.parameter(value) : tape.constant(value);
  });
  const indices = Object.fromEntries(
    Object.entries(ints).map(([name, values]) => [name, graph.input(name, 'int64', [values.length])]),
  );
  return { inputs, indices };
}

function forwardSession(build: Build, test: GradientCase): Promise<InferenceSession> {
  const tape = new Tape();
  const { inputs, indices } = inputsOf(test, tape, false);
  const y = build(tape, inputs, indices);
  tape.graph.output(tape.graph.node('Reshape', [y, tape.graph.ints([-1])]), 'y');
  return createSession(tape.graph.serialize(), new Map(), { threads: 1 });
}

/** Places in the sources, `file:line`, of the gradient rules that a case carries out. */
export function rulesOf(test: GradientCase): Set<string> {
  const tape = new WatchedTape();
  writeBackward(test, tape);
  return tape.carriedOut;
}

function backwardSession(test: GradientCase): Promise<InferenceSession> {
  const tape = new Tape();
  writeBackward(test, tape);
  return createSession(tape.graph.serialize(), new Map(), { threads: 1 });
}

function writeBackward(test: GradientCase, tape: Tape): void {
  const { graph } = tape;
  const { inputs, indices } = inputsOf(test, tape, true);
  const y = test.build(tape, inputs, indices);
  const mix = graph.input('mix', 'float32', ['W']);
  const flat = graph.node('Reshape', [y, graph.ints([-1])]);
  const loss = tape.record(
    graph.node('ReduceSum', [graph.node('Mul', [flat, mix])], { keepdims: { int: 0 } }),
    [y],
    (dy) => [graph.node('Reshape', [graph.node('Mul', [mix, dy]), graph.node('Shape', [y])])],
  );
  for (const [i, gradient] of tape.gradients(loss, inputs).entries()) graph.output(gradient, `g${i}`);
}
