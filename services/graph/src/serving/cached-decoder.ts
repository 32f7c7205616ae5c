import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { add, linear } from '../autodiff/ops.ts';
import { Tape, type Tensor } from '../autodiff/tape.ts';
import { type Checkpoint, float32Checkpoint } from '../checkpoint/checkpoint.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import type { Adapter, LoraAdapter, PrefixAdapter } from '../checkpoint/peft.ts';
import type { ModelConfig } from '../models/config.ts';
import { ropeTables } from '../models/rope.ts';
import {
  type Attention,
  decoder,
  headWeightName,
  linearModules,
  weightShapes,
} from '../models/transformer.ts';
import type { OnnxGraph, Value } from '../onnx/graph.ts';
import { createSession } from '../onnx/session.ts';
import { WeightSource } from '../onnx/weights.ts';
import { loraNames, loraScaling, targetedModules } from '../training/lora.ts';
import { MASKED } from '../training/packing.ts';
import { checkRows } from './check-rows.ts';

export interface CachedDecoderOptions {
  threads: number;
  /** Where a float32 copy of a half-precision checkpoint may be kept. */
  cacheFolder: string;
  /** Blocks of the key/value pool. */
  blocks: number;
  /** Tokens a block. */
  blockSize: number;
  /** Adapters beside the base. */
  adapterSlots: number;
}

/** New tokens of one sequence. */
export interface DecodeRow {
  tokens: readonly number[];
  /** Tokens that are in the cache already, the adapter's virtual tokens included. */
  start: number;
  /** Its blocks in order, with room for start + tokens.length. */
  blockTable: readonly number[];
  /** 0 for the base. */
  adapterSlot: number;
  /** What is to follow the last tokens, one each: the row is scored by them. */
  targets?: readonly number[] | undefined;
}

/** Positions whose logits are computed at once where a row is scored: a vocabulary of each is a lot of memory. */
const SCORED_AT_ONCE = 128;

/** Matrices of all slots for one module: A [slots, inputs, rank], B [slots, rank, outputs], scaling in B. */
interface AdapterStack {
  inputs: number;
  outputs: number;
  a: Float32Array;
  b: Float32Array;
}

/**
 * A decoder with keys and values in a pool of blocks that the graph reads without a copy and never writes: it hands out
 * the new ones, which are put into the pool here. Any mixture of adapters and the base runs in one batch: each sequence
 * gathers its own matrices, and slot 0 holds zeros.
 */
export class CachedDecoder {
  readonly config: ModelConfig;
  readonly #options: CachedDecoderOptions;
  readonly #session: InferenceSession;
  /** By layer: keys, then values, each [blocks, blockSize, keyValueHeads * headDim]. */
  readonly #pools: Float32Array[];
  readonly #positions: number;
  readonly #cos: Float32Array;
  readonly #sin: Float32Array;
  readonly #slots: (LoraAdapter | undefined)[];
  readonly #prefixes: (PrefixAdapter | undefined)[];
  #stacks = new Map<string, AdapterStack>();
  #rank = 1;

  private constructor(config: ModelConfig, options: CachedDecoderOptions, session: InferenceSession) {
    this.config = config;
    this.#options = options;
    this.#session = session;
    const width = config.keyValueHeads * config.headDim;
    const size = options.blocks * options.blockSize * width;
    this.#pools = Array.from({ length: 2 * config.layers }, () => new Float32Array(size));
    // A configuration may claim more positions than the pool could ever hold.
    this.#positions = Math.min(config.maxPositions, options.blocks * options.blockSize);
    const { cos, sin } = ropeTables(config, this.#positions);
    this.#cos = cos;
    this.#sin = sin;
    this.#slots = new Array(options.adapterSlots + 1).fill(undefined);
    this.#prefixes = [...this.#slots] as undefined[];
    this.#stack();
  }

  static async create(checkpoint: Checkpoint, options: CachedDecoderOptions): Promise<CachedDecoder> {
    const stored = float32Checkpoint(checkpoint, options.cacheFolder);
    const { config } = stored;
    const tape = new Tape();
    const weights = new WeightSource(tape.graph, stored);
    buildGraph(tape, config, weights, options);
    const session = await createSession(tape.graph.serialize(), weights.files, { threads: options.threads });
    return new CachedDecoder(config, options, session);
  }

  /** Puts an adapter into a slot from 1; not while a step runs. */
  setAdapter(slot: number, adapter: Adapter | undefined): void {
    if (slot < 1 || slot >= this.#slots.length)
      throw new RangeError(`adapter slot ${slot} of ${this.#slots.length - 1}`);
    this.#prefixes[slot] = adapter?.kind === 'prefix' ? adapter : undefined;
    this.#slots[slot] = adapter?.kind === 'lora' ? adapter : undefined;
    const rank = Math.max(1, ...this.#slots.map((a) => a?.config.r ?? 1));
    if (rank !== this.#rank || this.#stacks.size === 0) {
      this.#rank = rank;
      this.#stack();
    } else this.#fill(slot);
  }

  /** Virtual tokens of a slot's adapter: what stands in the cache before a sequence's own first token. */
  prefixTokens(slot: number): number {
    return this.#prefixes[slot]?.numVirtualTokens ?? 0;
  }

  /**
   * Computes the new tokens of each row, keeps their keys and values, and returns the logits [vocabSize] of each
   * row's last token; of a row with targets their natural log probabilities [targets.length]. A row's result does not
   * depend on its neighbours beyond float rounding in shared products, nor on what stood in its blocks before.
   * @throws RangeError, before anything is computed, for a row that can't be: no tokens, tokens outside the vocabulary,
   *   positions beyond the context, blocks or slots that do not exist
   */
  async step(rows: readonly DecodeRow[]): Promise<Float32Array[]> {
    const { config } = this;
    const { blocks, blockSize } = this.#options;
    checkRows(rows, {
      vocabSize: config.vocabSize,
      positions: this.#positions,
      blocks,
      blockSize,
      prefixes: this.#slots.map((_, slot) => this.prefixTokens(slot)),
    });
    for (const row of rows) this.#clear(row);
    const results: Float32Array[] = [];
    const plain = rows.filter(({ targets }) => !targets);
    const logits = plain.length > 0 ? await this.#run(plain) : undefined;
    let next = 0;
    for (const row of rows) {
      if (row.targets) results.push(await this.#score(row, row.targets));
      else {
        results.push(logits!.subarray(next * config.vocabSize, (next + 1) * config.vocabSize));
        next++;
      }
    }
    return results;
  }

  /** Logits [rows, vocabSize] of the last tokens, or of the last `wanted` ones of a single row. */
  async #run(rows: readonly DecodeRow[], wanted = 1): Promise<Float32Array> {
    const longest = Math.max(...rows.map((row) => row.tokens.length));
    const outputs = await this.#session.run(this.#feeds(rows, longest, wanted));
    this.#keep(rows, longest, outputs.new_key_values!.data as Float32Array);
    return outputs.logits!.data as Float32Array;
  }

  async #score(row: DecodeRow, targets: readonly number[]): Promise<Float32Array> {
    const { vocabSize } = this.config;
    const { tokens, start } = row;
    const scored = new Float32Array(targets.length);
    const context = tokens.length - targets.length;
    for (let from = 0, end = 0; from < tokens.length; from = end) {
      // What only leads up to the targets goes through with the first of them.
      end = Math.min(tokens.length, Math.max(from, context) + SCORED_AT_ONCE);
      const part = { ...row, tokens: tokens.slice(from, end), start: start + from };
      const first = Math.max(from, context);
      const logits = await this.#run([part], end - first);
      for (let i = first; i < end; i++) {
        const at = (i - first) * vocabSize;
        const target = targets[i - context]!;
        scored[i - context] = logProbability(logits.subarray(at, at + vocabSize), target);
      }
    }
    return scored;
  }

  /** Gives native memory back; not while a step runs. */
  async release(): Promise<void> {
    await this.#session.release();
  }

  #feeds(rows: readonly DecodeRow[], longest: number, wanted: number): Record<string, OrtTensor> {
    const { config } = this;
    const { blocks, blockSize } = this.#options;
    const count = rows.length;
    const half = config.headDim / 2;
    const pastBlocks = Math.max(...rows.map((row) => Math.ceil(row.start / blockSize)));
    const past = pastBlocks * blockSize;
    const ids = new BigInt64Array(count * longest);
    const cos = new Float32Array(count * longest * half);
    const sin = new Float32Array(cos.length);
    const table = new BigInt64Array(count * pastBlocks);
    const mask = new Float32Array(count * longest * (past + longest)).fill(MASKED);
    const logitRows = new BigInt64Array(count * wanted);
    const adapters = new BigInt64Array(count);
    for (const [r, row] of rows.entries()) {
      const { tokens, start, blockTable } = row;
      const own = r * longest + tokens.length - wanted;
      for (let i = 0; i < wanted; i++) logitRows[r * wanted + i] = BigInt(own + i);
      adapters[r] = BigInt(row.adapterSlot);
      // Past its end a row looks, masked, at its own first block: 0 times another's overflow would not be 0.
      for (let block = 0; block < pastBlocks; block++) {
        const own = block * blockSize < start ? block : 0;
        table[r * pastBlocks + block] = BigInt(blockTable[own]!);
      }
      for (let t = 0; t < longest; t++) {
        const at = r * longest + t;
        // A row shorter than the longest repeats its last token; nobody looks at the copies.
        const real = Math.min(t, tokens.length - 1);
        ids[at] = BigInt(tokens[real]!);
        const position = start + real;
        cos.set(this.#cos.subarray(position * half, (position + 1) * half), at * half);
        sin.set(this.#sin.subarray(position * half, (position + 1) * half), at * half);
        const seen = at * (past + longest);
        const first =
          config.slidingWindow === undefined ? 0 : Math.max(0, position - config.slidingWindow + 1);
        if (first < start) mask.fill(0, seen + first, seen + start);
        mask.fill(0, seen + past + Math.max(0, first - start), seen + past + real + 1);
      }
    }
    const width = config.keyValueHeads * config.headDim;
    const feeds: Record<string, OrtTensor> = {
      input_ids: new OrtTensor('int64', ids, [count * longest]),
      cos: new OrtTensor('float32', cos, [1, count * longest, half]),
      sin: new OrtTensor('float32', sin, [1, count * longest, half]),
      block_table: new OrtTensor('int64', table, [count, pastBlocks]),
      attention_mask: new OrtTensor('float32', mask, [count, 1, 1, longest, past + longest]),
      logit_rows: new OrtTensor('int64', logitRows, [count * wanted]),
      adapter_slots: new OrtTensor('int64', adapters, [count]),
      row_shape: new OrtTensor('int64', BigInt64Array.from([BigInt(count), BigInt(longest)]), [2]),
    };
    for (const [i, pool] of this.#pools.entries()) {
      feeds[`pool_${i}`] = new OrtTensor('float32', pool, [blocks, blockSize, width]);
    }
    for (const [module, stack] of this.#stacks) {
      feeds[`a:${module}`] = new OrtTensor('float32', stack.a, [
        this.#slots.length,
        stack.inputs,
        this.#rank,
      ]);
      feeds[`b:${module}`] = new OrtTensor('float32', stack.b, [
        this.#slots.length,
        this.#rank,
        stack.outputs,
      ]);
    }
    return feeds;
  }

  /**
   * Empties the blocks that a row is about to begin: the graph reads whole blocks, and masks what is not a number too.
   * A sequence that begins finds its adapter's virtual tokens in them.
   */
  #clear({ tokens, start, blockTable, adapterSlot }: DecodeRow): void {
    const { blockSize } = this.#options;
    const width = this.config.keyValueHeads * this.config.headDim;
    const size = blockSize * width;
    const prefix = this.#prefixes[adapterSlot];
    const begins = prefix !== undefined && start === prefix.numVirtualTokens;
    const first = begins ? 0 : Math.ceil(start / blockSize);
    for (let block = first; block * blockSize < start + tokens.length; block++) {
      const at = blockTable[block]! * size;
      for (const pool of this.#pools) pool.fill(0, at, at + size);
    }
    if (!begins) return;
    for (let position = 0; position < start; position++) {
      const slot = blockTable[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
      for (const [i, pool] of this.#pools.entries()) {
        const from = (position * this.#pools.length + i) * width;
        pool.set(prefix.embeddings.subarray(from, from + width), slot * width);
      }
    }
  }

  /** @param fresh [2 * layers, rows * longest, width] */
  #keep(rows: readonly DecodeRow[], longest: number, fresh: Float32Array): void {
    const { blockSize } = this.#options;
    const width = this.config.keyValueHeads * this.config.headDim;
    const perPool = rows.length * longest * width;
    for (const [i, pool] of this.#pools.entries()) {
      for (const [r, { tokens, start, blockTable }] of rows.entries()) {
        for (let t = 0; t < tokens.length; t++) {
          const position = start + t;
          const slot = blockTable[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
          const from = i * perPool + (r * longest + t) * width;
          pool.set(fresh.subarray(from, from + width), slot * width);
        }
      }
    }
  }

  #stack(): void {
    this.#stacks = new Map();
    for (const [module, [outputs, inputs]] of linearModules(this.config)) {
      const a = new Float32Array(this.#slots.length * inputs * this.#rank);
      const b = new Float32Array(this.#slots.length * this.#rank * outputs);
      this.#stacks.set(module, { inputs, outputs, a, b });
    }
    for (let slot = 1; slot < this.#slots.length; slot++) this.#fill(slot);
  }

  /** Writes a slot's matrices, transposed to the graph's order; a rank below the largest is filled up with zeros. */
  #fill(slot: number): void {
    const adapter = this.#slots[slot];
    const targeted = adapter ? targetedModules(this.config, adapter.config.targetModules) : undefined;
    const rank = this.#rank;
    for (const [module, { inputs, outputs, a, b }] of this.#stacks) {
      const ownA = a.subarray(slot * inputs * rank, (slot + 1) * inputs * rank).fill(0);
      const ownB = b.subarray(slot * rank * outputs, (slot + 1) * rank * outputs).fill(0);
      if (!adapter || !targeted?.has(module)) continue;
      const names = loraNames(module);
      const sourceA = adapter.tensors.get(names.a)!.data;
      const sourceB = adapter.tensors.get(names.b)!.data;
      const { r } = adapter.config;
      const scaling = loraScaling(adapter.config);
      for (let k = 0; k < r; k++) {
        for (let i = 0; i < inputs; i++) ownA[i * rank + k] = sourceA[k * inputs + i]!;
        for (let o = 0; o < outputs; o++) ownB[k * outputs + o] = scaling * sourceB[o * r + k]!;
      }
    }
  }
}

/** log softmax(logits)[target] */
function logProbability(logits: Float32Array, target: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > most) most = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - most);
  return logits[target]! - most - Math.log(sum);
}

function buildGraph(
  tape: Tape,
  config: ModelConfig,
  weights: WeightSource,
  options: CachedDecoderOptions,
): void {
  const { graph } = tape;
  const { blocks, blockSize, adapterSlots } = options;
  const half = config.headDim / 2;
  const width = config.keyValueHeads * config.headDim;
  const shapes = weightShapes(config);
  const weight = (name: string): Tensor => {
    const shape = shapes.get(name);
    if (!shape) throw new CheckpointError(`no shape is known for ${name}`);
    return tape.constant(weights.get(name, shape));
  };
  const ids = graph.input('input_ids', 'int64', ['N']);
  const rotation = {
    cos: graph.input('cos', 'float32', [1, 'N', half]),
    sin: graph.input('sin', 'float32', [1, 'N', half]),
    // No gradient is taken here: nothing turns back.
    sinBack: ids,
  };
  const blockTable = graph.input('block_table', 'int64', ['B', 'P']);
  const mask = graph.input('attention_mask', 'float32', ['B', 1, 1, 'T', 'S']);
  const logitRows = graph.input('logit_rows', 'int64', ['L']);
  const slots = graph.input('adapter_slots', 'int64', ['B']);
  const rowShape = graph.input('row_shape', 'int64', [2]);
  const fresh: Value[] = [];
  const pool = (i: number) => graph.input(`pool_${i}`, 'float32', [blocks, blockSize, width]);
  const hidden = decoder(tape, config, ids, {
    weight,
    rotation,
    adapt: gatheredAdapters(tape, config, slots, rowShape, adapterSlots + 1),
    attention: cachedAttention(tape, config, { blockTable, mask, rowShape, pool, fresh }),
  });
  const asked = graph.node('Gather', [hidden, logitRows], { axis: { int: 0 } });
  graph.output(linear(tape, tape.constant(asked), weight(headWeightName(config))), 'logits');
  const stacked = fresh.map((value) => graph.node('Unsqueeze', [value, graph.ints([0])]));
  graph.output(graph.node('Concat', stacked, { axis: { int: 0 } }), 'new_key_values');
}

/** y + (x A_s) B_s with each sequence's own slot s. */
function gatheredAdapters(tape: Tape, config: ModelConfig, slots: Value, rowShape: Value, slotCount: number) {
  const { graph } = tape;
  const sizes = linearModules(config);
  return (module: string, x: Tensor, y: Tensor): Tensor => {
    const [outputs, inputs] = sizes.get(module)!;
    const gather = (name: string, shape: (number | string)[]) =>
      graph.node('Gather', [graph.input(`${name}:${module}`, 'float32', shape), slots], { axis: { int: 0 } });
    const a = gather('a', [slotCount, inputs, 'R']);
    const b = gather('b', [slotCount, 'R', outputs]);
    const bySequence = graph.node('Reshape', [x, joined(graph, rowShape, graph.ints([inputs]))]);
    const added = graph.node('MatMul', [graph.node('MatMul', [bySequence, a]), b]);
    return add(tape, y, tape.constant(graph.node('Reshape', [added, graph.ints([-1, outputs])])));
  };
}

interface CacheLayout {
  blockTable: Value;
  mask: Value;
  rowShape: Value;
  pool: (index: number) => Value;
  /** Takes each layer's new keys, then values, [N, width]. */
  fresh: Value[];
}

/** Attention over the cached tokens that a block table names, then the new ones. */
function cachedAttention(tape: Tape, config: ModelConfig, layout: CacheLayout): Attention {
  const { graph } = tape;
  const { heads, keyValueHeads, headDim } = config;
  const group = heads / keyValueHeads;
  const sequences = graph.node('Slice', [layout.rowShape, graph.ints([0]), graph.ints([1])]);
  const perHead = joined(graph, layout.rowShape, graph.ints([keyValueHeads, headDim]));
  const pastShape = joined(graph, sequences, graph.ints([-1, keyValueHeads, headDim]));
  const queryShape = joined(graph, layout.rowShape, graph.ints([keyValueHeads, group, headDim]));
  const length = graph.node('Slice', [layout.rowShape, graph.ints([1]), graph.ints([2])]);
  const scoreShape = joined(graph, sequences, graph.ints([keyValueHeads, group]), length, graph.ints([-1]));
  const outShape = joined(
    graph,
    sequences,
    graph.ints([keyValueHeads, group]),
    length,
    graph.ints([headDim]),
  );
  const withPast = (fresh: Value, pool: Value) => {
    const past = graph.node('Reshape', [
      graph.node('Gather', [pool, layout.blockTable], { axis: { int: 0 } }),
      pastShape,
    ]);
    const all = graph.node('Concat', [past, graph.node('Reshape', [fresh, perHead])], { axis: { int: 1 } });
    return graph.node('Transpose', [all], { perm: { ints: [0, 2, 1, 3] } });
  };
  return {
    attend(layer, q, k, v) {
      layout.fresh.push(k, v);
      const keys = withPast(k, layout.pool(2 * layer));
      const values = withPast(v, layout.pool(2 * layer + 1));
      const grouped = graph.node('Transpose', [graph.node('Reshape', [q, queryShape])], {
        perm: { ints: [0, 2, 3, 1, 4] },
      });
      const queries = graph.node('Reshape', [grouped, graph.ints([0, 0, -1, headDim])]);
      const scores = graph.node('ms.FusedMatMul', [queries, keys], {
        transB: { int: 1 },
        alpha: 1 / Math.sqrt(headDim),
      });
      const masked = graph.node('Add', [graph.node('Reshape', [scores, scoreShape]), layout.mask]);
      const probabilities = graph.node('Softmax', [masked], { axis: { int: -1 } });
      const mixed = graph.node('MatMul', [
        graph.node('Reshape', [probabilities, graph.node('Shape', [scores])]),
        values,
      ]);
      const byPosition = graph.node('Transpose', [graph.node('Reshape', [mixed, outShape])], {
        perm: { ints: [0, 3, 1, 2, 4] },
      });
      return tape.constant(graph.node('Reshape', [byPosition, graph.ints([-1, heads * headDim])]));
    },
  };
}

function joined(graph: OnnxGraph, ...parts: Value[]): Value {
  return graph.node('Concat', parts, { axis: { int: 0 } });
}
