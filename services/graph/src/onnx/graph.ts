import { create, toBinary } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataLocation as DataLocation,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from '@landfall/proto/onnx/onnx_pb.js';
import { inputsOf, inRunningOrder, withoutCopies } from './order.ts';

/** ONNX element types that graphs use. */
export const ELEMENT = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9, float16: 10 } as const;
export type ElementType = keyof typeof ELEMENT;

/** A value of a graph, by name. */
export interface Value {
  readonly name: string;
}

export type Dimension = number | string;
export type Attribute = number | { int: number } | { ints: readonly number[] } | string;

/** Where an initializer's bytes lie. */
export interface ExternalData {
  /** Name by which the session finds the file. */
  location: string;
  offset: number;
  byteLength: number;
}

const MICROSOFT = 'com.microsoft';
const OPSET = 24n;

/** Builds one ONNX graph: inputs, constants, weights in their files, nodes, outputs. */
export class OnnxGraph {
  #nodes: NodeProto[] = [];
  readonly #initializers: TensorProto[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  #shapes: ValueInfoProto[] = [];
  readonly #constants = new Map<string, Value>();
  #next = 0;

  /** Number of nodes so far. */
  get size(): number {
    return this.#nodes.length;
  }

  input(name: string, type: ElementType, shape: readonly Dimension[]): Value {
    this.#inputs.push(valueInfo(name, type, shape));
    return { name };
  }

  /** @param shape where a reader of the model is to know it ahead */
  output(value: Value, name: string, type: ElementType = 'float32', shape?: readonly Dimension[]): void {
    this.#nodes.push(create(NodeProtoSchema, { opType: 'Identity', input: [value.name], output: [name] }));
    this.#outputs.push(valueInfo(name, type, shape));
  }

  /**
   * Says a value's shape where the runtime can't infer it. It computes in place only where it knows that input and
   * output have one shape.
   */
  shape(value: Value, type: ElementType, shape: readonly Dimension[]): Value {
    this.#shapes.push(valueInfo(value.name, type, shape));
    return value;
  }

  /** A weight that stays in its file. */
  external(name: string, shape: readonly number[], data: ExternalData, type: ElementType = 'float32'): Value {
    this.#initializers.push(
      create(TensorProtoSchema, {
        name,
        dataType: ELEMENT[type],
        dims: shape.map(BigInt),
        dataLocation: DataLocation.EXTERNAL,
        externalData: [
          { key: 'location', value: data.location },
          { key: 'offset', value: String(data.offset) },
          { key: 'length', value: String(data.byteLength) },
        ],
      }),
    );
    return { name };
  }

  /** A weight inside the model. */
  weight(name: string, shape: readonly number[], data: Float32Array): Value {
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#initializers.push(
      create(TensorProtoSchema, { name, dataType: ELEMENT.float32, dims: shape.map(BigInt), rawData }),
    );
    return { name };
  }

  /** Bytes inside the model. */
  bytes(name: string, type: 'uint8' | 'int8', shape: readonly number[], data: Uint8Array | Int8Array): Value {
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#initializers.push(
      create(TensorProtoSchema, { name, dataType: ELEMENT[type], dims: shape.map(BigInt), rawData }),
    );
    return { name };
  }

  /** The same values in another type. */
  cast(value: Value, to: ElementType): Value {
    return this.node('Cast', [value], { to: { int: ELEMENT[to] } });
  }

  /** A small integer list [n], or of another shape, shared by equal content. */
  ints(values: readonly number[], shape: readonly number[] = [values.length]): Value {
    return this.#constant(`i${values.join('_')}${shape.length === 1 ? '' : `x${shape.join('_')}`}`, () =>
      create(TensorProtoSchema, {
        dataType: ELEMENT.int64,
        dims: shape.map(BigInt),
        int64Data: values.map(BigInt),
      }),
    );
  }

  /** An integer scalar. */
  int(value: number): Value {
    return this.#constant(`s${value}`, () =>
      create(TensorProtoSchema, { dataType: ELEMENT.int64, int64Data: [BigInt(value)] }),
    );
  }

  /** A float scalar. */
  float(value: number): Value {
    return this.#constant(`f${value}`, () =>
      create(TensorProtoSchema, { dataType: ELEMENT.float32, floatData: [value] }),
    );
  }

  #constant(key: string, make: () => TensorProto): Value {
    let value = this.#constants.get(key);
    if (!value) {
      value = { name: `c.${key.replaceAll(/[^\w.-]/g, '_')}` };
      const tensor = make();
      tensor.name = value.name;
      this.#initializers.push(tensor);
      this.#constants.set(key, value);
    }
    return value;
  }

  /** One node with one output. */
  node(
    opType: string,
    inputs: readonly (Value | undefined)[],
    attributes: Record<string, Attribute> = {},
  ): Value {
    return this.nodes(opType, inputs, 1, attributes)[0]!;
  }

  /** One node with several outputs. `com.microsoft` operators are written `ms.Name`. */
  nodes(
    opType: string,
    inputs: readonly (Value | undefined)[],
    outputs: number,
    attributes: Record<string, Attribute> = {},
  ): Value[] {
    const values = Array.from({ length: outputs }, () => ({ name: `v${this.#next++}` }));
    const contrib = opType.startsWith('ms.');
    this.#nodes.push(
      create(NodeProtoSchema, {
        opType: contrib ? opType.slice(3) : opType,
        domain: contrib ? MICROSOFT : '',
        input: inputs.map((value) => value?.name ?? ''),
        output: values.map((value) => value.name),
        attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      }),
    );
    return values;
  }

  /**
   * One value by one of two ways, of which a run takes only the one that `condition`, a bool, says. Both see what was
   * made before, and what they make themselves nobody else does.
   */
  either(condition: Value, yes: () => Value, no: () => Value): Value {
    const [result] = this.nodes('If', [condition], 1);
    const node = this.#nodes.at(-1)!;
    node.attribute.push(this.#branch('then_branch', yes), this.#branch('else_branch', no));
    return result!;
  }

  #branch(name: string, make: () => Value): AttributeProto {
    const [nodes, shapes] = [this.#nodes, this.#shapes];
    this.#nodes = [];
    this.#shapes = [];
    try {
      const output = valueInfo(make().name, 'float32', undefined);
      const g = create(GraphProtoSchema, {
        name,
        node: this.#nodes,
        valueInfo: this.#shapes,
        output: [output],
      });
      return create(AttributeProtoSchema, { name, type: AttributeType.GRAPH, g });
    } finally {
      this.#nodes = nodes;
      this.#shapes = shapes;
    }
  }

  /** The model in ONNX's wire format. */
  serialize(): Uint8Array {
    const outputs = new Set(this.#outputs.map(({ name }) => name));
    const nodes = inRunningOrder(withoutCopies(this.#nodes), outputs);
    const used = new Set(nodes.flatMap(inputsOf));
    const model = create(ModelProtoSchema, {
      irVersion: 10n,
      producerName: 'landfall',
      opsetImport: [
        { domain: '', version: OPSET },
        { domain: MICROSOFT, version: 1n },
      ],
      graph: {
        name: 'landfall',
        node: nodes,
        // The runtime warns of each that nothing reads.
        initializer: this.#initializers.filter(({ name }) => used.has(name)),
        input: this.#inputs,
        output: this.#outputs,
        valueInfo: this.#shapes,
      },
    });
    return toBinary(ModelProtoSchema, model);
  }
}

function valueInfo(name: string, type: ElementType, shape: readonly Dimension[] | undefined): ValueInfoProto {
  const dim = shape?.map((d) => ({
    value:
      typeof d === 'number'
        ? { case: 'dimValue' as const, value: BigInt(d) }
        : { case: 'dimParam' as const, value: d },
  }));
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: { case: 'tensorType', value: { elemType: ELEMENT[type], ...(dim ? { shape: { dim } } : {}) } },
    },
  });
}

function attribute(name: string, value: Attribute): AttributeProto {
  if (typeof value === 'number')
    return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value });
  if (typeof value === 'string') {
    return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: Buffer.from(value) });
  }
  if ('int' in value)
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value.int) });
  return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.ints.map(BigInt) });
}
