import { describe, expect, test } from 'vitest';
import { BlockManager } from './block-manager.ts';
import { Scheduler, type SchedulerLimits } from './scheduler.ts';
import { type EngineRequest, Sequence } from './sequence.ts';

const BLOCK = 4;

/** A prompt of its own: nothing is shared but where a test says so. */
function sequence(id: string, prompt: number | number[], more: Partial<EngineRequest> = {}): Sequence {
  const request: EngineRequest = {
    id,
    prompt:
      typeof prompt === 'number'
        ? Array.from({ length: prompt }, (_, i) => id.charCodeAt(0) * 1000 + i)
        : prompt,
    tenant: 'default',
    client: 'one',
    priority: 0,
    sampling: { temperature: 0, topK: 0, topP: 1, seed: 0n },
    maxTokens: 100,
    stop: [],
    ignoreEos: true,
    ...more,
  };
  return new Sequence(request, 0, 0, BLOCK);
}

class Trace {
  readonly blocks: BlockManager;
  readonly scheduler: Scheduler;

  constructor(blocks: number, limits: Partial<SchedulerLimits> = {}) {
    this.blocks = new BlockManager(blocks, BLOCK);
    const all = { maxBatch: 8, maxPrefillTokens: 16, maxChunkTokens: 8, ...limits };
    this.scheduler = new Scheduler(this.blocks, all);
  }

  add(...sequences: Sequence[]): void {
    for (const each of sequences) this.scheduler.add(each);
  }

  /**
   * Runs one step as the engine would and tells of each row which positions it computed, `+` where it took a token, its
   * guesses in brackets; then who lost a place. Guesses are wrong.
   */
  step(): string {
    const plan = this.scheduler.plan();
    if (!plan) return 'idle';
    const rows = plan.rows.map(({ sequence: s, tokens, own, guesses }) => {
      const from = s.computed;
      s.advance(tokens.length - guesses);
      for (let b = 0; b < Math.floor(Math.min(s.computed, s.promptEnd) / BLOCK); b++)
        if (s.hashes[b]) this.blocks.publish(s.blockTable[b]!, s.hashes[b]!);
      const known = !own && s.output.length > 0;
      if (s.pastPrompt && known) s.advance(s.output.length - 1);
      else if (s.pastPrompt) s.output.push(7);
      const guessed = guesses > 0 ? `(${tokens.slice(-guesses)})` : '';
      return `${s.id}[${from}:${from + tokens.length - guesses}]${guessed}${s.pastPrompt && !known ? '+' : ''}`;
    });
    return [...rows, ...plan.preempted.map(({ sequence: s }) => `-${s.id}`)].join(' ');
  }
}

describe('Scheduler', () => {
  test('few that run wait longer where many wait for their first token', () => {
    const trace = new Trace(64, { maxBatch: 4, maxPrefillTokens: 32, maxChunkTokens: 4 });
    trace.add(sequence('a', 1));
    expect(trace.step()).toBe('a[0:1]+');
    trace.add(...['b', 'c', 'd', 'e', 'f'].map((id) => sequence(id, 6)));
    // Three places are left: three times the chunk.
    expect(trace.step()).toBe('a[1:2]+ b[0:6]+ c[0:6]+');
    // One is left, beside three that run: the chunk.
    expect(trace.step()).toBe('a[2:3]+ b[6:7]+ c[6:7]+ d[0:4]');
    expect(trace.step()).toBe('a[3:4]+ b[7:8]+ c[7:8]+ d[4:6]+');
  });

  test('requests join at any step, and all that are past their prompt take a token in each', () => {
    const trace = new Trace(16, { maxBatch: 3 });
    const [a, b, c, d] = [sequence('a', 3), sequence('b', 4), sequence('c', 3), sequence('d', 1)];
    trace.add(a);
    expect(trace.step()).toBe('a[0:3]+');
    expect(trace.step()).toBe('a[3:4]+');
    trace.add(b, c, d);
    expect(trace.step()).toBe('a[4:5]+ b[0:4]+ c[0:3]+');
    // The batch is full: d waits until someone leaves.
    expect(trace.step()).toBe('a[5:6]+ b[4:5]+ c[3:4]+');
    trace.scheduler.remove(b);
    expect(trace.step()).toBe('a[6:7]+ c[4:5]+ d[0:1]+');
    for (const s of [a, c, d]) trace.scheduler.remove(s);
    expect(trace.step()).toBe('idle');
    expect(trace.blocks.free).toBe(16);
  });

  test('a long prompt goes in chunks beside the others, larger ones while nobody waits for a token', () => {
    const trace = new Trace(64);
    trace.add(sequence('l', 40), sequence('m', 6));
    expect(trace.step()).toBe('l[0:16]');
    expect(trace.step()).toBe('l[16:32]');
    expect(trace.step()).toBe('l[32:40]+ m[0:6]+');
    trace.add(sequence('n', 20), sequence('o', 2));
    expect(trace.step()).toBe('l[40:41]+ m[6:7]+ n[0:8]');
    expect(trace.step()).toBe('l[41:42]+ m[7:8]+ n[8:16]');
    expect(trace.step()).toBe('l[42:43]+ m[8:9]+ n[16:20]+ o[0:2]+');
  });

  test('without a free block the youngest of the lowest priority loses its place, and goes on later', () => {
    const trace = new Trace(4);
    const [a, b] = [sequence('a', 4), sequence('b', 4)];
    trace.add(a, b);
    expect(trace.step()).toBe('a[0:4]+ b[0:4]+');
    expect(trace.step()).toBe('a[4:5]+ b[4:5]+');
    for (let i = 5; i < 8; i++) expect(trace.step()).toBe(`a[${i}:${i + 1}]+ b[${i}:${i + 1}]+`);
    expect(trace.step()).toBe('a[8:9]+ -b');
    // b has nine tokens, and one free block is not enough for them.
    expect(trace.step()).toBe('a[9:10]+');
    trace.scheduler.remove(a);
    expect(trace.step()).toBe('b[0:4]');
    expect(trace.step()).toBe('b[8:9]+');
    expect(b.output).toHaveLength(6);
    trace.scheduler.remove(b);
    expect(trace.blocks.free).toBe(4);
  });

  test('a higher priority goes first, and takes the place of a lower one', () => {
    const trace = new Trace(16, { maxBatch: 2 });
    const [a, b, c, d] = [
      sequence('a', 2, { priority: -1 }),
      sequence('b', 2),
      sequence('c', 2),
      sequence('d', 2, { priority: 1 }),
    ];
    trace.add(a);
    expect(trace.step()).toBe('a[0:2]+');
    trace.add(b, c, d);
    expect(trace.step()).toBe('d[0:2]+ b[0:2]+ -a');
    expect(trace.step()).toBe('d[2:3]+ b[2:3]+');
    trace.scheduler.remove(d);
    expect(trace.step()).toBe('b[3:4]+ c[0:2]+');
    trace.scheduler.remove(b);
    // What it had chosen before is known: only its prompt is computed again.
    expect(trace.step()).toBe('c[2:3]+ a[0:2]');
    expect(trace.step()).toBe('c[3:4]+ a[2:3]+');
  });

  test('nobody loses a place for one that would find no room all the same', () => {
    const trace = new Trace(6, { maxBatch: 4, maxPrefillTokens: 32 });
    const [a, b] = [sequence('a', 8, { priority: 1 }), sequence('b', 4, { priority: -1 })];
    trace.add(a, b);
    expect(trace.step()).toBe('a[0:8]+ b[0:4]+');
    trace.add(sequence('c', 20, { priority: 1 }));
    expect(trace.step()).toBe('a[8:9]+ b[4:5]+');
    trace.scheduler.remove(a);
    expect(trace.step()).toBe('c[0:20]+ -b');
  });

  test('clients share fairly: the one that was served least comes next, whoever has more requests', () => {
    const trace = new Trace(64, { maxBatch: 1 });
    const many = ['a', 'b', 'c'].map((id) => sequence(id, 2, { client: 'many' }));
    const few = sequence('x', 2, { client: 'few' });
    trace.add(...many, few);
    const order: string[] = [];
    for (let i = 0; i < 4; i++) {
      trace.step();
      const [running] = trace.scheduler.running;
      order.push(running!.id);
      trace.scheduler.remove(running!);
    }
    expect(order).toEqual(['a', 'x', 'b', 'c']);
  });

  test('what is in the pool of a prompt is shared, within a tenant and an adapter only', () => {
    const trace = new Trace(64);
    const prompt = Array.from({ length: 10 }, (_, i) => i);
    const a = sequence('a', prompt);
    trace.add(a);
    expect(trace.step()).toBe('a[0:10]+');
    trace.add(
      sequence('b', [...prompt, 99]),
      sequence('c', prompt, { tenant: 'other' }),
      sequence('d', prompt, { adapter: 'x' }),
      sequence('e', [0, 1, 2, 3, 50, 51]),
    );
    expect(trace.step()).toBe('a[10:11]+ b[8:11]+ c[0:10]+ d[0:3]');
    expect(trace.step()).toBe('a[11:12]+ b[11:12]+ c[10:11]+ d[3:10]+ e[4:5]');
  });

  test('what equal prompts that come together have in common is computed once', () => {
    const trace = new Trace(64);
    const prompt = Array.from({ length: 10 }, (_, i) => i);
    trace.add(sequence('a', prompt), sequence('b', prompt), sequence('c', 3), sequence('d', [...prompt, 5]));
    expect(trace.step()).toBe('a[0:10]+ c[0:3]+');
    expect(trace.step()).toBe('a[10:11]+ c[3:4]+ b[8:10]+ d[8:11]+');
    // Whoever waited for one that has gone computes it for itself.
    const [e, f] = ['e', 'f'].map((id) => sequence(id, [9, 9, 9, 9, 9]));
    trace.add(e!, f!);
    trace.scheduler.remove(e!);
    expect(trace.step()).toMatch(/ f\[0:5\]\+$/);
  });

  test('the last token of a prompt is computed also where all of it is in the pool', () => {
    const trace = new Trace(64);
    const prompt = Array.from({ length: 8 }, (_, i) => i);
    const a = sequence('a', prompt);
    trace.add(a);
    expect(trace.step()).toBe('a[0:8]+');
    trace.scheduler.remove(a);
    trace.add(sequence('b', prompt));
    expect(trace.step()).toBe('b[4:8]+');
  });

  test('what nobody uses goes when its place is needed, what was used longest ago first', () => {
    const trace = new Trace(4);
    const prompts = [1, 2, 3].map((n) => Array.from({ length: 5 }, () => n));
    const run = (id: string, prompt: number[]) => {
      const s = sequence(id, prompt);
      trace.add(s);
      const seen = trace.step();
      trace.scheduler.remove(s);
      return seen;
    };
    expect(run('a', prompts[0]!)).toBe('a[0:5]+');
    expect(run('b', prompts[1]!)).toBe('b[0:5]+');
    expect(run('c', prompts[0]!)).toBe('c[4:5]+');
    expect(run('d', prompts[2]!)).toBe('d[0:5]+');
    expect(trace.blocks.cached).toBe(3);
    expect(
      run(
        'e',
        Array.from({ length: 9 }, () => 4),
      ),
    ).toBe('e[0:9]+');
    expect(run('f', prompts[1]!)).toBe('f[0:5]+');
    expect(trace.blocks.free).toBe(4);
  });

  test('guesses come from what followed before, within what may still be said', () => {
    const trace = new Trace(64);
    const s = sequence('a', [1, 2, 3, 4, 9, 7, 5, 6, 1, 2, 3], { promptLookup: 3, maxTokens: 4 });
    trace.add(s);
    expect(trace.step()).toBe('a[0:11]+');
    s.output[0] = 4;
    expect(trace.step()).toBe('a[11:12](9,7)+');
  });
});
