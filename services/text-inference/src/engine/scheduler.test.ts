import { describe, expect, test } from 'vitest';
import { BlockManager } from './block-manager.ts';
import { Scheduler } from './scheduler.ts';
import { Sequence } from './sequence.ts';

function sequence(id: string, promptLength: number): Sequence {
  return new Sequence(
    {
      id,
      prompt: new Array(promptLength).fill(5),
      sampling: { temperature: 0, topK: 0, topP: 1, seed: 0n },
      maxTokens: 100,
      stop: [],
      ignoreEos: true,
    },
    0,
  );
}

/** Runs one step as the engine would: what was planned is computed and each row gets a token. */
function step(scheduler: Scheduler): string {
  const plan = scheduler.plan();
  if (!plan) return 'idle';
  const rows = plan.sequences.map((s) => {
    const from = s.computed;
    s.computed = s.length;
    s.output.push(7);
    return `${s.id}[${from}:${s.computed}]@${s.blockTable.join(',')}`;
  });
  const lost = plan.preempted.map((s) => ` -${s.id}`).join('');
  return `${plan.kind} ${rows.join(' ')}${lost}`;
}

describe('Scheduler', () => {
  test('requests join at any step: prefill first, then all decode together', () => {
    const blocks = new BlockManager(8, 4);
    const scheduler = new Scheduler(blocks, { maxBatch: 3, maxPrefillTokens: 8 });
    const [a, b, c, d] = [sequence('a', 3), sequence('b', 4), sequence('c', 5), sequence('d', 1)];
    scheduler.add(a);
    expect(step(scheduler)).toBe('prefill a[0:3]@0');
    expect(step(scheduler)).toBe('decode a[3:4]@0');
    scheduler.add(b);
    scheduler.add(c);
    scheduler.add(d);
    expect(step(scheduler)).toBe('prefill b[0:4]@1');
    expect(step(scheduler)).toBe('prefill c[0:5]@2,3');
    // The batch is full: d waits until someone leaves.
    expect(step(scheduler)).toBe('decode a[4:5]@0,4 b[4:5]@1,5 c[5:6]@2,3');
    scheduler.remove(b);
    expect(step(scheduler)).toBe('prefill d[0:1]@1');
    expect(step(scheduler)).toBe('decode a[5:6]@0,4 c[6:7]@2,3 d[1:2]@1');
    for (const s of [a, c, d]) scheduler.remove(s);
    expect(step(scheduler)).toBe('idle');
    expect(blocks.free).toBe(8);
  });

  test('several short prompts share a prefill step within the budget, a long one goes alone', () => {
    const scheduler = new Scheduler(new BlockManager(100, 4), { maxBatch: 8, maxPrefillTokens: 8 });
    for (const [id, length] of [
      ['a', 3],
      ['b', 4],
      ['c', 1],
      ['d', 30],
      ['e', 1],
    ] as const)
      scheduler.add(sequence(id, length));
    // c would fit beside them if rows were not filled up to the longest.
    expect(step(scheduler)).toMatch(/^prefill a\[0:3\]@\S+ b\[0:4\]@\S+$/);
    expect(step(scheduler)).toMatch(/^prefill c\[0:1\]@\S+$/);
    expect(step(scheduler)).toMatch(/^prefill d\[0:30\]@\S+$/);
    expect(step(scheduler)).toMatch(/^prefill e\[0:1\]@\S+$/);
  });

  test('without a free block the youngest is sent back, and computed anew with its tokens so far', () => {
    const blocks = new BlockManager(3, 2);
    const scheduler = new Scheduler(blocks, { maxBatch: 4, maxPrefillTokens: 8 });
    const [a, b] = [sequence('a', 2), sequence('b', 1)];
    scheduler.add(a);
    scheduler.add(b);
    expect(step(scheduler)).toBe('prefill a[0:2]@0 b[0:1]@1');
    expect(step(scheduler)).toBe('decode a[2:3]@0,2 b[1:2]@1');
    expect(step(scheduler)).toBe('decode a[3:4]@0,2 -b');
    // b needs two blocks for its three tokens, and one is free: it waits, a goes on.
    expect(step(scheduler)).toBe('decode a[4:5]@0,2,1');
    expect(scheduler.waiting).toEqual([b]);
    scheduler.remove(a);
    expect(step(scheduler)).toBe('prefill b[0:3]@0,2');
    expect(b.output).toEqual([7, 7, 7]);
    scheduler.remove(b);
    expect(blocks.free).toBe(3);
  });

  test('a removed sequence leaves the queue or the batch, and its blocks are free', () => {
    const blocks = new BlockManager(4, 2);
    const scheduler = new Scheduler(blocks, { maxBatch: 1, maxPrefillTokens: 8 });
    const [a, b] = [sequence('a', 2), sequence('b', 2)];
    scheduler.add(a);
    scheduler.add(b);
    expect(step(scheduler)).toBe('prefill a[0:2]@0');
    scheduler.remove(b);
    scheduler.remove(a);
    expect(step(scheduler)).toBe('idle');
    expect(blocks.free).toBe(4);
  });
});
