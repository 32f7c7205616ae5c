import type { LoraAdapter } from '../checkpoint/peft.ts';
import type { ModelConfig } from '../models/config.ts';
import { loraNames, loraScaling, targetedModules } from '../training/lora.ts';
import { type GroupKind, type LinearGroup, moduleName, sum } from './linear-groups.ts';

/** Rows of a group's bank that belong to one adapter. */
interface Range {
  from: number;
  count: number;
}

/**
 * The runtime's products add so many inputs up at once, and how many depends on the columns where they are fewer: rows
 * come in whole blocks of this size and an adapter's don't lie across a border, so that its sums are always the same.
 */
const SUM_BLOCK = 128;

/** The matrices of a group's adapters, rank by rank: A [rows, layers, inputs], B [rows, layers, outputs]. */
class GroupBank {
  readonly inputs: number;
  readonly outputs: number;
  readonly layers: number;
  a: Float32Array;
  b: Float32Array;
  #free: Range[] = [];
  #rows = 0;

  constructor(layers: number, inputs: number, outputs: number) {
    this.layers = layers;
    this.inputs = inputs;
    this.outputs = outputs;
    this.a = new Float32Array(0);
    this.b = new Float32Array(0);
    this.#grow(1);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Finds room, growing where there is none. */
  take(count: number): Range {
    if (count === 0) return { from: 0, count };
    const fitting = this.#free.findIndex((range) => range.count >= count);
    if (fitting < 0) {
      this.#grow(Math.max(this.#rows * 2, this.#rows + count));
      return this.take(count);
    }
    const range = this.#free[fitting]!;
    const taken = { from: range.from, count };
    if (range.count === count) this.#free.splice(fitting, 1);
    else this.#free[fitting] = { from: range.from + count, count: range.count - count };
    return taken;
  }

  give(range: Range): void {
    if (range.count === 0) return;
    const free = [...this.#free, range].sort((x, y) => x.from - y.from);
    this.#free = [];
    for (const next of free) {
      const last = this.#free.at(-1);
      if (last && last.from + last.count === next.from) last.count += next.count;
      else this.#free.push({ ...next });
    }
  }

  #grow(rows: number): void {
    const grown = (old: Float32Array, width: number) => {
      const larger = new Float32Array(rows * this.layers * width);
      larger.set(old);
      return larger;
    };
    this.a = grown(this.a, this.inputs);
    this.b = grown(this.b, this.outputs);
    const added = { from: this.#rows, count: rows - this.#rows };
    this.#rows = rows;
    this.give(added);
  }
}

/** What a step needs to know of a group's adapters. */
export interface BankSelection {
  /** Rows of the bank that are in use, each times the number of layers [W]. */
  rows: BigInt64Array;
  /** 1 where a token's adapter is a row's, else 0 [N, W]. */
  selected: Float32Array;
}

/**
 * The adapters that are in memory. A step takes the rows of those that its tokens ask for, all at once, and each token
 * keeps its own: any mixture costs two small products a group, and the base alone costs none.
 */
export class AdapterBank {
  readonly groups: ReadonlyMap<GroupKind, GroupBank>;
  readonly #config: ModelConfig;
  readonly #shapes: readonly LinearGroup[];
  /** By slot. */
  readonly #ranges = new Map<number, Map<GroupKind, Range>>();

  constructor(config: ModelConfig, shapes: readonly LinearGroup[]) {
    this.#config = config;
    this.#shapes = shapes;
    this.groups = new Map(
      shapes.map(({ kind, inputs, outputs }) => [kind, new GroupBank(config.layers, inputs, sum(outputs))]),
    );
  }

  /** Puts an adapter into a slot in the place of what was there; undefined empties it. */
  set(slot: number, adapter: LoraAdapter | undefined): void {
    for (const [kind, range] of this.#ranges.get(slot) ?? []) this.groups.get(kind)!.give(range);
    this.#ranges.delete(slot);
    if (!adapter) return;
    const targeted = targetedModules(this.#config, adapter.config.targetModules);
    const ranges = new Map<GroupKind, Range>();
    for (const group of this.#shapes) {
      const parts = group.modules.filter((module) => this.#inAnyLayer(targeted, module));
      const range = this.groups.get(group.kind)!.take(parts.length * adapter.config.r);
      ranges.set(group.kind, range);
      for (const [p, module] of parts.entries())
        this.#write(group, module, adapter, targeted, range.from + p * adapter.config.r);
    }
    this.#ranges.set(slot, ranges);
  }

  /** @param slots of each token [N] */
  select(kind: GroupKind, slots: readonly number[]): BankSelection {
    const { layers } = this.#config;
    const columns: { row: number; slot: number }[] = [];
    const fillUp = (count: number) => {
      for (let i = 0; i < count; i++) columns.push({ row: 0, slot: -1 });
    };
    for (const slot of new Set(slots)) {
      const range = this.#ranges.get(slot)?.get(kind);
      if (!range || range.count === 0) continue;
      const left = SUM_BLOCK - (columns.length % SUM_BLOCK);
      if (left < Math.min(range.count, SUM_BLOCK)) fillUp(left);
      for (let i = 0; i < range.count; i++) columns.push({ row: range.from + i, slot });
    }
    fillUp((SUM_BLOCK - (columns.length % SUM_BLOCK)) % SUM_BLOCK);
    const rows = BigInt64Array.from(columns, ({ row }) => BigInt(row * layers));
    const selected = new Float32Array(slots.length * columns.length);
    for (const [n, slot] of slots.entries()) {
      for (const [w, column] of columns.entries())
        if (column.slot === slot) selected[n * columns.length + w] = 1;
    }
    return { rows, selected };
  }

  #inAnyLayer(targeted: ReadonlyMap<string, unknown>, module: string): boolean {
    for (let layer = 0; layer < this.#config.layers; layer++)
      if (targeted.has(moduleName(layer, module))) return true;
    return false;
  }

  /** A as peft has it; B transposed, scaled, in the columns of its module. */
  #write(
    group: LinearGroup,
    module: string,
    adapter: LoraAdapter,
    targeted: ReadonlyMap<string, unknown>,
    from: number,
  ): void {
    const { a, b, inputs, outputs, layers } = this.groups.get(group.kind)!;
    const { r } = adapter.config;
    const scaling = loraScaling(adapter.config);
    const index = group.modules.indexOf(module);
    const own = group.outputs[index]!;
    const column = sum(group.outputs.slice(0, index));
    for (let layer = 0; layer < layers; layer++) {
      const name = moduleName(layer, module);
      const names = loraNames(name);
      const sourceA = targeted.has(name) ? adapter.tensors.get(names.a)!.data : undefined;
      const sourceB = targeted.has(name) ? adapter.tensors.get(names.b)!.data : undefined;
      for (let k = 0; k < r; k++) {
        const row = (from + k) * layers + layer;
        const rowA = a.subarray(row * inputs, (row + 1) * inputs).fill(0);
        const rowB = b.subarray(row * outputs, (row + 1) * outputs).fill(0);
        if (!sourceA || !sourceB) continue;
        rowA.set(sourceA.subarray(k * inputs, (k + 1) * inputs));
        for (let o = 0; o < own; o++) rowB[column + o] = scaling * sourceB[o * r + k]!;
      }
    }
  }
}
