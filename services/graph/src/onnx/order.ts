import type { NodeProto } from '@landfall/proto/onnx/onnx_pb.js';

/** What a node reads, its branches included. */
export function inputsOf(node: NodeProto): string[] {
  return [...node.input, ...branchNodes(node).flatMap(inputsOf)];
}

const branchNodes = (node: NodeProto) => node.attribute.flatMap(({ g }) => g?.node ?? []);

/**
 * The nodes that the outputs need, in an order that frees memory early. The runtime runs every node it is given, needed
 * or not; and it walks from the last node that nothing follows back to what that one needs, then on to the last but one:
 * so those whose inputs are there first must stand last, or a gradient's inputs are kept until all others are done.
 */
export function inRunningOrder(nodes: readonly NodeProto[], outputs: ReadonlySet<string>): NodeProto[] {
  const needed = new Set(outputs);
  const kept: NodeProto[] = [];
  for (const node of nodes.toReversed()) {
    if (!node.output.some((name) => needed.has(name))) continue;
    kept.push(node);
    for (const name of inputsOf(node)) needed.add(name);
  }
  kept.reverse();
  const followed = new Set(kept.flatMap(inputsOf));
  const isLast = (node: NodeProto) => !node.output.some((name) => followed.has(name));
  return [...kept.filter((node) => !isLast(node)), ...kept.filter(isLast).reverse()];
}

/** Gives a node's output the name that the graph's output has, for all who read it, instead of a copy. */
export function withoutCopies(nodes: readonly NodeProto[]): NodeProto[] {
  const produced = new Set(nodes.flatMap((node) => node.output));
  const names = new Map<string, string>();
  const kept = nodes.filter((node) => {
    if (node.opType !== 'Identity') return true;
    const [from, to] = [node.input[0]!, node.output[0]!];
    // An input or a weight keeps its name, and so does what is an output already.
    if (!produced.has(from) || names.has(from)) return true;
    names.set(from, to);
    return false;
  });
  for (const node of kept) rename(node, (name) => names.get(name) ?? name);
  return kept;
}

function rename(node: NodeProto, renamed: (name: string) => string): void {
  node.input = node.input.map(renamed);
  node.output = node.output.map(renamed);
  for (const inner of branchNodes(node)) rename(inner, renamed);
}
