import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { LoraAdapter } from '../checkpoint/peft.ts';
import type { ModelConfig } from '../models/config.ts';
import { loraNames, loraScaling, targetedModules } from '../training/lora.ts';
import { GROUP_KINDS, type GroupKind, type LinearGroup, moduleName, sum } from './linear-groups.ts';
import { bool, int64 } from './tensors.ts';

/**
 * The runtime's products add so many inputs up at once, and how many depends on the columns where they are fewer: rows
 * come in whole blocks of this size and an adapter's don't lie across a border, so that its sums are always the same.
 */
const SUM_BLOCK = 128;
/** Steps with fewer adapters than lie ready before those left out are taken away: most are back after a chunk. */
const PATIENCE = 16;

/** A module's matrices of one adapter, rank by rank; none of one that the adapter leaves as it is. */
interface Part {
  rows: number;
  /** [layers, rows, inputs] */
  a: Float32Array;
  /** [layers, rows, outputs] */
  b: Float32Array;
}

/** Adapters that lie behind one another, as a step reads them. */
interface Mix {
  slots: ReadonlySet<number>;
  /** Slot of each row, -1 of those that fill a block up; module by module. */
  rows: ReadonlyMap<GroupKind, readonly (readonly number[])[]>;
  /** `a:` and `b:` of each layer. */
  feeds: ReadonlyMap<GroupKind, Record<string, OrtTensor>>;
}

/**
 * The adapters that are in memory. A step reads the rows of those that its tokens ask for, all at once, and each token
 * keeps its own: any mixture costs two small products a group, and the base alone costs none. What steps read is laid
 * out anew only where their adapters change: gathered by the graph it would be copied in every step.
 */
export class AdapterBank {
  readonly #config: ModelConfig;
  readonly #groups: readonly LinearGroup[];
  /** By slot. */
  readonly #parts = new Map<number, Map<GroupKind, Part[]>>();
  #mix: Mix;
  /** Steps in a row that needed less than the mix has. */
  #wideSteps = 0;

  constructor(config: ModelConfig, groups: readonly LinearGroup[]) {
    this.#config = config;
    this.#groups = groups;
    this.#mix = this.#layOut([]);
  }

  /** Puts an adapter into a slot in the place of what was there; undefined empties it. */
  set(slot: number, adapter: LoraAdapter | undefined): void {
    this.#parts.delete(slot);
    if (this.#mix.slots.has(slot)) this.#mix = this.#layOut([]);
    if (!adapter) return;
    const targeted = targetedModules(this.#config, adapter.config.targetModules);
    this.#parts.set(
      slot,
      new Map(this.#groups.map((group) => [group.kind, this.#partsOf(group, adapter, targeted)])),
    );
  }

  /** Groups that the adapters of these slots change. */
  groupsOf(slots: readonly number[]): GroupKind[] {
    const parts = slots.flatMap((slot) => this.#parts.get(slot) ?? []);
    return GROUP_KINDS.filter((kind) => parts.some((part) => part.get(kind)!.some(({ rows }) => rows > 0)));
  }

  /**
   * What a step reads of its adapters: for each group `selected:` [N, W], 1 where a token's adapter is a row's and else 0,
   * and, where it has several modules, `rows:` [modules], how many of these rows are each one's; for each of its layers
   * `a:` [W, inputs], and of each module `b:` [its rows, its outputs]. Where the graph takes several groups, `used:` [1]
   * says whether there are rows.
   *
   * @param slots of each token [N]
   * @param kinds groups that the step's graph takes
   */
  feeds(slots: readonly number[], kinds: readonly GroupKind[]): Record<string, OrtTensor> {
    const needed = [...new Set(slots)].filter((slot) => this.#parts.has(slot));
    if (!this.#serves(needed)) {
      this.#mix = this.#layOut(this.#filledUp(needed));
      this.#wideSteps = 0;
    }
    const feeds: Record<string, OrtTensor> = {};
    for (const kind of kinds) {
      Object.assign(feeds, this.#mix.feeds.get(kind));
      const rows = this.#mix.rows.get(kind)!.flat();
      const selected = new Float32Array(slots.length * rows.length);
      for (const [n, slot] of slots.entries()) {
        for (const [w, own] of rows.entries()) if (own === slot) selected[n * rows.length + w] = 1;
      }
      feeds[`selected:${kind}`] = new OrtTensor('float32', selected, [slots.length, rows.length]);
      if (kinds.length > 1) feeds[`used:${kind}`] = bool(rows.length > 0);
    }
    return feeds;
  }

  #serves(needed: readonly number[]): boolean {
    const { slots, rows } = this.#mix;
    if (!needed.every((slot) => slots.has(slot))) return false;
    const wider = [...rows].some(([kind, own]) => widthOf(this.#rows(kind, needed)) < widthOf(own));
    this.#wideSteps = wider ? this.#wideSteps + 1 : 0;
    return this.#wideSteps <= PATIENCE;
  }

  /** With the adapters of before for which the last blocks have room. */
  #filledUp(needed: readonly number[]): number[] {
    const filled = [...needed];
    const width = (kind: GroupKind, slots: readonly number[]) => widthOf(this.#rows(kind, slots));
    const widths = new Map(GROUP_KINDS.map((kind) => [kind, width(kind, needed)]));
    for (const slot of this.#mix.slots) {
      if (filled.includes(slot)) continue;
      if ([...widths].every(([kind, most]) => width(kind, [...filled, slot]) <= most)) filled.push(slot);
    }
    return filled;
  }

  /** Slot of each row of a group's modules where these adapters lie behind one another in each. */
  #rows(kind: GroupKind, slots: readonly number[]): number[][] {
    const { modules } = this.#groups.find((group) => group.kind === kind)!;
    const left = (count: number) => (SUM_BLOCK - (count % SUM_BLOCK)) % SUM_BLOCK;
    const rows = modules.map((_, m) => {
      const own: number[] = [];
      for (const slot of slots) {
        const { rows: count } = this.#parts.get(slot)!.get(kind)![m]!;
        const before = left(own.length);
        if (before < Math.min(count, SUM_BLOCK)) own.push(...new Array<number>(before).fill(-1));
        own.push(...new Array<number>(count).fill(slot));
      }
      return own;
    });
    rows.at(-1)!.push(...new Array<number>(left(widthOf(rows))).fill(-1));
    return rows;
  }

  #layOut(slots: readonly number[]): Mix {
    const rows = new Map<GroupKind, readonly (readonly number[])[]>();
    const feeds = new Map<GroupKind, Record<string, OrtTensor>>();
    const { layers } = this.#config;
    for (const { kind, inputs, outputs } of this.#groups) {
      const own = this.#rows(kind, slots);
      const width = widthOf(own);
      rows.set(kind, own);
      const ofGroup: Record<string, OrtTensor> = {};
      feeds.set(kind, ofGroup);
      if (own.length > 1) ofGroup[`rows:${kind}`] = int64(own.map(({ length }) => length));
      const a = new Float32Array(layers * width * inputs);
      let first = 0;
      for (const [m, { length }] of own.entries()) {
        const b = new Float32Array(layers * length * outputs[m]!);
        for (const slot of slots) {
          const part = this.#parts.get(slot)!.get(kind)![m]!;
          const at = own[m]!.indexOf(slot);
          copyLayers(part.a, a, {
            size: part.rows * inputs,
            at: (first + at) * inputs,
            step: width * inputs,
          });
          copyLayers(part.b, b, {
            size: part.rows * outputs[m]!,
            at: at * outputs[m]!,
            step: length * outputs[m]!,
          });
        }
        for (let layer = 0; layer < layers; layer++)
          ofGroup[`b:${kind}:${layer}:${m}`] = layerOf(b, layer, [length, outputs[m]!]);
        first += length;
      }
      for (let layer = 0; layer < layers; layer++)
        ofGroup[`a:${kind}:${layer}`] = layerOf(a, layer, [width, inputs]);
    }
    return { slots: new Set(slots), rows, feeds };
  }

  /** Of each module of a group A as peft has it, and B transposed and scaled. */
  #partsOf(group: LinearGroup, adapter: LoraAdapter, targeted: ReadonlyMap<string, unknown>): Part[] {
    const { layers } = this.#config;
    const { r } = adapter.config;
    const { inputs } = group;
    const scaling = loraScaling(adapter.config);
    return group.modules.map((module, m) => {
      const rows = this.#inAnyLayer(targeted, module) ? r : 0;
      const outputs = group.outputs[m]!;
      const a = new Float32Array(layers * rows * inputs);
      const b = new Float32Array(layers * rows * outputs);
      for (let layer = 0; layer < layers; layer++) {
        const name = moduleName(layer, module);
        if (!targeted.has(name)) continue;
        const names = loraNames(name);
        const sourceB = adapter.tensors.get(names.b)!.data;
        a.set(adapter.tensors.get(names.a)!.data, layer * rows * inputs);
        for (let k = 0; k < rows; k++) {
          const row = b.subarray((layer * rows + k) * outputs, (layer * rows + k + 1) * outputs);
          for (let o = 0; o < outputs; o++) row[o] = scaling * sourceB[o * r + k]!;
        }
      }
      return { rows, a, b };
    });
  }

  #inAnyLayer(targeted: ReadonlyMap<string, unknown>, module: string): boolean {
    for (let layer = 0; layer < this.#config.layers; layer++)
      if (targeted.has(moduleName(layer, module))) return true;
    return false;
  }
}

const widthOf = (rows: readonly (readonly number[])[]) => sum(rows.map(({ length }) => length));

/** A layer's part of what holds all of them. */
function layerOf(all: Float32Array, layer: number, dims: readonly [number, number]): OrtTensor {
  const size = dims[0] * dims[1];
  return new OrtTensor('float32', all.subarray(layer * size, (layer + 1) * size), dims);
}

/** Puts each `size` values of `from` to `at` within each `step` values of `to`. */
function copyLayers(
  from: Float32Array,
  to: Float32Array,
  { size, at, step }: { size: number; at: number; step: number },
): void {
  for (let layer = 0; (layer + 1) * size <= from.length && size > 0; layer++)
    to.set(from.subarray(layer * size, (layer + 1) * size), layer * step + at);
}
