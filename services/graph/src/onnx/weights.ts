import type { Stored } from '../checkpoint/checkpoint.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import type { OnnxGraph, Value } from './graph.ts';

/** Types of safetensors by those of the graph. */
const DTYPES = { float32: 'F32', float16: 'F16', int8: 'I8', uint8: 'U8' } as const;

/** Gives a graph the weights of a checkpoint, each once and where it lies. */
export class WeightSource {
  readonly #graph: OnnxGraph;
  readonly #checkpoint: Stored;
  readonly #values = new Map<string, Value>();
  /** File by location, for the session. */
  readonly files = new Map<string, string>();

  constructor(graph: OnnxGraph, checkpoint: Stored) {
    this.#graph = graph;
    this.#checkpoint = checkpoint;
  }

  /** @throws CheckpointError when the checkpoint lacks it or has it in another shape or type */
  get(name: string, shape: readonly number[], type: keyof typeof DTYPES = 'float32'): Value {
    const known = this.#values.get(name);
    if (known) return known;
    const entry = this.#checkpoint.tensors.get(name);
    if (!entry) throw new CheckpointError(`the checkpoint has no tensor ${name}`);
    if (entry.dtype !== DTYPES[type])
      throw new CheckpointError(`tensor ${name} is ${entry.dtype}; convert the checkpoint first`);
    if (entry.shape.join() !== shape.join()) {
      throw new CheckpointError(
        `tensor ${name} has the shape [${entry.shape}]; the configuration asks for [${shape}]`,
      );
    }
    let location = [...this.files].find(([, file]) => file === entry.file)?.[0];
    if (!location) {
      location = `weights-${this.files.size}.safetensors`;
      this.files.set(location, entry.file);
    }
    const { offset, byteLength } = entry;
    const value = this.#graph.external(name, shape, { location, offset, byteLength }, type);
    this.#values.set(name, value);
    return value;
  }
}
