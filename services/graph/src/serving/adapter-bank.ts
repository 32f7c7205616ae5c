import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { LoraAdapter } from '../checkpoint/peft.ts';
import type { ModelConfig } from '../models/config.ts';
import { loraNames, loraScaling, targetedModules } from '../training/lora.ts';
import { type GroupKind, type LinearGroup, moduleName, sum } from './linear-groups.ts';

/**
 * The runtime's products add so many inputs up at once, and how many depends on the columns where they are fewer: rows
 * come in whole blocks of this size and an adapter's don't lie across a border, so that its sums are always the same.
 */
const SUM_BLOCK = 128;
/** Steps with fewer adapters than lie ready before those left out are taken away: most are back after a chunk. */
const PATIENCE = 16;

/** A group's matrices of one adapter, rank by rank. */
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
  /** Slot of each row, -1 of those that fill a block up. */
  rows: ReadonlyMap<GroupKind, readonly number[]>;
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
  readonly #parts = new Map<number, Map<GroupKind, Part>>();
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
      new Map(this.#groups.map((group) => [group.kind, this.#part(group, adapter, targeted)])),
    );
  }

  /** Groups that the adapters of these slots change. */
  groupsOf(slots: readonly number[]): GroupKind[] {
    const parts = slots.flatMap((slot) => this.#parts.get(slot) ?? []);
    return this.#groups
      .map(({ kind }) => kind)
      .filter((kind) => parts.some((part) => part.get(kind)!.rows > 0));
  }

  /**
   * What a step reads of its adapters: for each group `selected:` [N, W], 1 where a token's adapter is a row's and else 0,
   * and for each of its layers `a:` [W, inputs] and `b:` [W, outputs].
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
      const rows = this.#mix.rows.get(kind)!;
      Object.assign(feeds, this.#mix.feeds.get(kind));
      const selected = new Float32Array(slots.length * rows.length);
      for (const [n, slot] of slots.entries()) {
        for (const [w, own] of rows.entries()) if (own === slot) selected[n * rows.length + w] = 1;
      }
      feeds[`selected:${kind}`] = new OrtTensor('float32', selected, [slots.length, rows.length]);
    }
    return feeds;
  }

  #serves(needed: readonly number[]): boolean {
    const { slots, rows } = this.#mix;
    if (!needed.every((slot) => slots.has(slot))) return false;
    const wider = [...rows].some(([kind, { length }]) => this.#rows(kind, needed).length < length);
    this.#wideSteps = wider ? this.#wideSteps + 1 : 0;
    return this.#wideSteps <= PATIENCE;
  }

  /** With the adapters of before for which the last blocks have room. */
  #filledUp(needed: readonly number[]): number[] {
    const filled = [...needed];
    const kinds = this.#groups.map(({ kind }) => kind);
    const widths = kinds.map((kind) => this.#rows(kind, needed).length);
    for (const slot of this.#mix.slots) {
      if (filled.includes(slot)) continue;
      if (kinds.every((kind, k) => this.#rows(kind, [...filled, slot]).length <= widths[k]!))
        filled.push(slot);
    }
    return filled;
  }

  /** Slot of each row of a group where these adapters lie behind one another. */
  #rows(kind: GroupKind, slots: readonly number[]): number[] {
    const rows: number[] = [];
    const fill = (count: number, slot: number) => {
      for (let i = 0; i < count; i++) rows.push(slot);
    };
    const left = () => (SUM_BLOCK - (rows.length % SUM_BLOCK)) % SUM_BLOCK;
    for (const slot of slots) {
      const { rows: count } = this.#parts.get(slot)!.get(kind)!;
      if (left() > 0 && left() < Math.min(count, SUM_BLOCK)) fill(left(), -1);
      fill(count, slot);
    }
    fill(left(), -1);
    return rows;
  }

  #layOut(slots: readonly number[]): Mix {
    const rows = new Map<GroupKind, readonly number[]>();
    const feeds = new Map<GroupKind, Record<string, OrtTensor>>();
    for (const { kind, inputs, outputs } of this.#groups) {
      const own = this.#rows(kind, slots);
      rows.set(kind, own);
      const ofGroup: Record<string, OrtTensor> = {};
      feeds.set(kind, ofGroup);
      const sides = [
        ['a', inputs],
        ['b', sum(outputs)],
      ] as const;
      for (const [side, width] of sides) {
        const joined = new Float32Array(this.#config.layers * own.length * width);
        const size = own.length * width;
        for (const slot of slots) {
          const part = this.#parts.get(slot)!.get(kind)!;
          if (part.rows === 0) continue;
          const at = own.indexOf(slot) * width;
          for (let layer = 0; layer < this.#config.layers; layer++) {
            const from = layer * part.rows * width;
            joined.set(part[side].subarray(from, from + part.rows * width), layer * size + at);
          }
        }
        for (let layer = 0; layer < this.#config.layers; layer++) {
          const data = joined.subarray(layer * size, (layer + 1) * size);
          // Without rows B has one column: a product over nothing fills it, and a long prompt would feel the whole width.
          const columns = side === 'b' && own.length === 0 ? 1 : width;
          ofGroup[`${side}:${kind}:${layer}`] = new OrtTensor('float32', data, [own.length, columns]);
        }
      }
    }
    return { slots: new Set(slots), rows, feeds };
  }

  /** A as peft has it; B transposed, scaled, in the columns of its module. */
  #part(group: LinearGroup, adapter: LoraAdapter, targeted: ReadonlyMap<string, unknown>): Part {
    const { layers } = this.#config;
    const { r } = adapter.config;
    const { inputs } = group;
    const outputs = sum(group.outputs);
    const scaling = loraScaling(adapter.config);
    const modules = group.modules.filter((module) => this.#inAnyLayer(targeted, module));
    const rows = modules.length * r;
    const a = new Float32Array(layers * rows * inputs);
    const b = new Float32Array(layers * rows * outputs);
    for (const [p, module] of modules.entries()) {
      const index = group.modules.indexOf(module);
      const own = group.outputs[index]!;
      const column = sum(group.outputs.slice(0, index));
      for (let layer = 0; layer < layers; layer++) {
        const name = moduleName(layer, module);
        if (!targeted.has(name)) continue;
        const names = loraNames(name);
        const sourceB = adapter.tensors.get(names.b)!.data;
        const row = layer * rows + p * r;
        a.set(adapter.tensors.get(names.a)!.data, row * inputs);
        for (let k = 0; k < r; k++) {
          const rowB = b.subarray((row + k) * outputs, (row + k + 1) * outputs);
          for (let o = 0; o < own; o++) rowB[column + o] = scaling * sourceB[o * r + k]!;
        }
      }
    }
    return { rows, a, b };
  }

  #inAnyLayer(targeted: ReadonlyMap<string, unknown>, module: string): boolean {
    for (let layer = 0; layer < this.#config.layers; layer++)
      if (targeted.has(moduleName(layer, module))) return true;
    return false;
  }
}
