import { expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import type { ModelConfig } from '../models/config.ts';
import { KeyValuePool } from './key-value-pool.ts';
import { type Context, contextOf, RunningContexts } from './running-contexts.ts';

/** Whatever comes and goes, what is held is what the sequences have, and so is the pool when somebody reads it there. */

const random = generator(testSeed('running contexts'));
const below = (n: number) => between(random, 0, n - 1);

const BLOCKS = 40;
const BLOCK = 4;
const SIDES = 4;
const WIDTH = 4;
const config = { layers: SIDES / 2, keyValueHeads: 2, headDim: 2 } as ModelConfig;
const MOST = Number.MAX_SAFE_INTEGER;

class Sequence implements Context {
  readonly blockTable: number[] = [];
  /** Of each token what it has in each side, [SIDES, WIDTH]. */
  readonly tokens: Float32Array[] = [];
  readonly pool: KeyValuePool;

  constructor(pool: KeyValuePool) {
    this.pool = pool;
  }

  get start(): number {
    return this.tokens.length;
  }

  /** Room for one more token, with nothing of another in it. */
  grow(free: number[]): boolean {
    if (this.start < this.blockTable.length * BLOCK) return true;
    const block = free.shift();
    if (block === undefined) return false;
    this.blockTable.push(block);
    this.pool.clear(block);
    return true;
  }

  /** A token that is computed from what lies in the pool. */
  write(): void {
    const token = values();
    this.pool.write(this.blockTable, this.start, token, 0, WIDTH);
    this.tokens.push(token);
  }

  expectInPool(): void {
    const saved = this.pool.save(this.blockTable, 0, this.start);
    expect([...saved]).toEqual(this.tokens.flatMap((token) => [...token]));
  }
}

let next = 1;
/** [SIDES, WIDTH] that nothing else has. */
const values = () => Float32Array.from({ length: SIDES * WIDTH }, () => next++);

/** A step of one token for each, all in one run. */
function step(contexts: RunningContexts, sequences: readonly Sequence[], mostBytes = MOST): void {
  const held = contexts.hold(sequences, mostBytes)!;
  for (const [i, { tokens }] of sequences.entries()) {
    for (let side = 0; side < SIDES; side++) {
      const { data, dims } = held.feeds[contextOf(side)]!;
      expect(dims).toEqual([sequences.length, config.keyValueHeads, held.size, config.headDim]);
      for (let head = 0; head < config.keyValueHeads; head++) {
        const at = (i * config.keyValueHeads + head) * held.size * config.headDim;
        const seen = (data as Float32Array).subarray(at, at + held.size * config.headDim);
        const from = side * WIDTH + head * config.headDim;
        const own = tokens.flatMap((token) => [...token.subarray(from, from + config.headDim)]);
        expect([...seen]).toEqual([...own, ...new Array(seen.length - own.length).fill(0)]);
      }
    }
  }
  // As the graph gives new ones out: [SIDES, sequences, WIDTH].
  const fresh = new Float32Array(SIDES * sequences.length * WIDTH);
  const added = new Map(sequences.map((sequence) => [sequence, values()]));
  for (const [i, sequence] of sequences.entries()) {
    for (let side = 0; side < SIDES; side++)
      fresh.set(
        added.get(sequence)!.subarray(side * WIDTH, (side + 1) * WIDTH),
        (side * sequences.length + i) * WIDTH,
      );
  }
  for (const i of sequences.keys()) contexts.append(i, fresh, i * WIDTH, sequences.length * WIDTH);
  for (const [sequence, token] of added) sequence.tokens.push(token);
}

test('sequences come, go on in any company, lose and take back their blocks', () => {
  const pool = new KeyValuePool(config, BLOCKS, BLOCK);
  const places = [new RunningContexts(pool), new RunningContexts(pool)];
  let free = Array.from({ length: BLOCKS }, (_, i) => i).sort(() => random() - 0.5);
  let sequences: Sequence[] = [];
  const flush = ({ blockTable }: Context) => {
    for (const contexts of places) contexts.flush(blockTable);
  };
  const end = (sequence: Sequence) => {
    sequences = sequences.filter((other) => other !== sequence);
    free.push(...sequence.blockTable.splice(0));
    free = free.sort(() => random() - 0.5);
  };
  for (let round = 0; round < 2000; round++) {
    const some = sequences.filter(() => random() < 0.7).filter((sequence) => sequence.grow(free));
    const [one] = some;
    const what = random();
    if (sequences.length < 6 && what < 0.1) {
      sequences.push(new Sequence(pool));
    } else if (!one || what < 0.12) {
      if (sequences.length > 0) end(sequences[below(sequences.length)]!);
    } else if (what < 0.17) {
      // Computed from the pool, some tokens at once.
      flush(one);
      one.expectInPool();
      for (let n = between(random, 1, 6); n > 0 && one.grow(free); n--) one.write();
    } else if (what < 0.22) {
      // Thrown out, and back in other blocks.
      flush({ start: one.start, blockTable: [...one.blockTable] });
      const saved = pool.save(one.blockTable, 0, one.start);
      free.push(...one.blockTable.splice(0));
      const blocks = Math.ceil(one.start / BLOCK);
      one.blockTable.push(...free.splice(0, blocks));
      for (const block of one.blockTable) pool.clear(block);
      pool.restore(one.blockTable, 0, saved);
    } else if (what < 0.26) {
      // A block that is shared is written again, with what it has.
      const at = below(one.start || 1);
      if (one.start - at > 2 * BLOCK) {
        flush(one);
        step(places[0]!, [one]);
        pool.write(one.blockTable, at, one.tokens[at]!, 0, WIDTH);
      }
    } else if (what < 0.3) {
      // Alone, twice over.
      for (const contexts of places.slice(1)) contexts.flush(one.blockTable);
      step(places[0]!, [one, one]);
    } else if (what < 0.4) {
      // In two runs.
      const half = Math.ceil(some.length / 2);
      for (const [i, group] of [some.slice(0, half), some.slice(half)].entries()) {
        const other = places[1 - i]!;
        for (const { blockTable } of group) other.flush(blockTable);
        if (group.length > 0)
          step(
            places[i]!,
            places[i]!.inPlace(group, (sequence) => sequence),
          );
      }
    } else if (what < 0.42) {
      for (const contexts of places) contexts.release();
    } else {
      for (const { blockTable } of some) places[1]!.flush(blockTable);
      step(
        places[0]!,
        places[0]!.inPlace(some, (sequence) => sequence),
      );
    }
  }
  for (const sequence of sequences) {
    flush(sequence);
    sequence.expectInPool();
  }
});

test('a sequence keeps its place when another has left', () => {
  const pool = new KeyValuePool(config, BLOCKS, BLOCK);
  const contexts = new RunningContexts(pool);
  const free = Array.from({ length: BLOCKS }, (_, i) => i);
  const [a, b, c] = [0, 1, 2].map(() => new Sequence(pool)) as [Sequence, Sequence, Sequence];
  for (const sequence of [a, b, c]) sequence.grow(free);
  const own = (sequence: Sequence) => sequence;
  expect(contexts.inPlace([a, b, c], own)).toEqual([a, b, c]);
  contexts.hold([a, b, c], MOST);
  expect(contexts.inPlace([b, c], own)).toEqual([c, b]);
  contexts.hold([c, b], MOST);
  expect(contexts.inPlace([a, b, c], own)).toEqual([c, b, a]);
});

test('nothing is held that takes more memory than there is', () => {
  const pool = new KeyValuePool(config, BLOCKS, BLOCK);
  const contexts = new RunningContexts(pool);
  const sequences = Array.from({ length: 3 }, () => new Sequence(pool));
  const free = Array.from({ length: BLOCKS }, (_, i) => i);
  for (const sequence of sequences) sequence.grow(free);
  const one = contexts.hold([sequences[0]!], MOST)!.size * SIDES * WIDTH * 4;
  contexts.release();
  expect(contexts.byteLength).toBe(0);
  expect(contexts.hold(sequences, 3 * one - 1)).toBeUndefined();
  expect(contexts.hold(sequences, 3 * one)).toBeDefined();
  expect(contexts.byteLength).toBe(3 * one);
});
