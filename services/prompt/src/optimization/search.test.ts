import { create } from '@bufbuild/protobuf';
import { randomOf } from '@landfall/metrics/random.ts';
import { OptimizationMove as Move } from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import { PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { expect, test } from 'vitest';
import { type Candidate, type Proposed, type SearchBench, search } from './search.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`LANDFALL_TEST_SEED=${seed}`);

const proposed = (digest: string): Proposed => ({
  ...{ parent: 0, move: Move.STRUCTURE, reason: '', digest },
  draft: create(PromptDraftSchema, { text: digest }),
});

/** Candidates whose answers are known in advance: `right[digest][row]`. */
function benchOf(right: Record<string, boolean[]>, rounds: string[][], calls = Number.POSITIVE_INFINITY) {
  const rows = right.first!.length;
  const asked = new Map<string, Set<number>>();
  const asks = () => [...asked.values()].reduce((sum, { size }) => sum + size, 0);
  const recorded = new Map<number, Candidate>();
  const from: string[][] = [];
  const known = (digest: string) => asked.get(digest)?.size ?? 0;
  const bench: SearchBench = {
    ...{ rows, perfect: 1 },
    cost: (candidates, to) =>
      candidates.reduce((sum, { digest }) => sum + Math.max(0, to - known(digest)), 0),
    spent: (answers) => (asks() + answers > calls ? 'the budget is spent' : undefined),
    async measure({ digest }, to) {
      const own = asked.get(digest) ?? new Set();
      asked.set(digest, own);
      for (let row = 0; row < to; row++) own.add(row);
      return right[digest]!.slice(0, to).filter(Boolean).length / to;
    },
    async *propose(round, parents) {
      from.push(parents.map(({ digest }) => digest));
      for (const digest of rounds[round - 1] ?? []) yield proposed(digest);
    },
    record: (candidate) => void recorded.set(candidate.number, { ...candidate }),
  };
  return { bench, asks, from, recorded };
}

/** The first `count` of `rows` are right. */
const rightOf = (count: number, rows: number) => Array.from({ length: rows }, (_, row) => row < count);

test('those that do best on few rows go on to more, and the best has been measured on all', async () => {
  const right = {
    ...{ first: rightOf(6, 32), a: rightOf(1, 32), b: rightOf(16, 32), c: rightOf(7, 32), d: rightOf(2, 32) },
    ...{ better: rightOf(30, 32), same: rightOf(30, 32).reverse() },
  };
  const { bench, asks, from, recorded } = benchOf(right, [
    ['a', 'b', 'c', 'd'],
    ['better', 'a', 'same'],
  ]);
  const found = await search(proposed('first'), bench, { maxRounds: 5, proposals: 8 });
  expect(found.best.digest).toBe('better');
  expect(found.why).toBe('no other proposals came up in round 3');
  // 32 for the first; 8 of four, 16 of two, 32 of one; 8 of two, 16 and 32 of one.
  expect(asks()).toBe(32 + 4 * 8 + 2 * 8 + 16 + 2 * 8 + 8 + 16);
  expect(from[1]).toEqual(['b', 'first']);
  expect(found.tries.map(({ digest, rows, finished }) => [digest, rows, finished])).toEqual([
    ['first', 32, true],
    ['a', 8, false],
    ['b', 32, true],
    ['c', 16, false],
    ['d', 8, false],
    ['better', 32, true],
    ['same', 8, false],
  ]);
  expect([...recorded.values()]).toEqual(found.tries);
  expect(found.tries[1]!.outcome).toMatch(/given up after 8 of 32 rows: 2 others/);
});

test('it ends when nothing is left to raise, when rounds bring nothing better, and when all are over', async () => {
  const all = rightOf(8, 8);
  const perfect = benchOf({ first: all }, [['x']]);
  expect((await search(proposed('first'), perfect.bench, { maxRounds: 3, proposals: 2 })).why).toMatch(
    /nothing is left/,
  );
  const worse = { first: rightOf(4, 8), a: rightOf(1, 8), b: rightOf(4, 8), c: all };
  const idle = benchOf(worse, [['a'], ['b'], ['c']]);
  const found = await search(proposed('first'), idle.bench, { maxRounds: 3, proposals: 2 });
  expect([found.why, found.best.digest]).toEqual(['2 rounds brought nothing better', 'first']);
  const over = benchOf(worse, [['a'], ['b']]);
  expect((await search(proposed('first'), over.bench, { maxRounds: 1, proposals: 2 })).why).toBe(
    'all 1 rounds are over',
  );
});

test('whatever comes up, the budget holds and the best is the best of those that were measured on all rows', async () => {
  for (let trial = 0; trial < 200; trial++) {
    const random = randomOf(BigInt(seed), trial);
    const rows = 4 + Math.floor(random() * 60);
    const names = Array.from({ length: 1 + Math.floor(random() * 30) }, (_, i) => `c${i}`);
    const right = Object.fromEntries(
      ['first', ...names].map((name) => {
        const chance = random();
        return [name, Array.from({ length: rows }, () => random() < chance)];
      }),
    );
    const rounds = [names.slice(0, 10), names.slice(5, 20), names.slice(20)];
    const calls = rows + Math.floor(random() * 20 * rows);
    const { bench, asks } = benchOf(right, rounds, calls);
    const found = await search(proposed('first'), bench, {
      maxRounds: 3,
      proposals: 1 + Math.floor(random() * 12),
    });
    expect(asks()).toBeLessThanOrEqual(calls);
    const finished = found.tries.filter((one) => one.finished);
    const value = ({ digest }: Candidate) => right[digest]!.filter(Boolean).length / rows;
    expect(found.best.score).toBe(Math.max(...finished.map(value)));
    expect(new Set(found.tries.map(({ digest }) => digest)).size).toBe(found.tries.length);
  }
});
