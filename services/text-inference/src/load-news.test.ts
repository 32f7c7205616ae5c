import { expect, test } from 'vitest';
import { LoadNews, type LoadNumbers } from './load-news.ts';

const QUIET: LoadNumbers = { running: 4, queued: 0, queuedTokens: 0, stepMs: 40 };

/** What each message of a stream tells, its last one included. */
function told(...loads: (Partial<LoadNumbers> & { prefixes?: number })[]): string {
  const news = new LoadNews();
  const parts = loads.map(({ prefixes = 0, ...numbers }, i) =>
    news.next({ ...QUIET, ...numbers }, prefixes, i === loads.length - 1),
  );
  return parts.join(' ');
}

test('the first and the last message carry all of it, and those between nothing where nothing changes', () => {
  expect(told({}, {}, {}, {})).toBe('whole nothing nothing whole');
  expect(told({})).toBe('whole');
});

test('numbers that callers choose by are told when they change', () => {
  expect(told({}, { running: 5 }, { running: 5 }, {}, {})).toBe('whole numbers nothing numbers whole');
  expect(told({}, { queued: 1 }, { queued: 1, queuedTokens: 9 }, {})).toBe('whole numbers numbers whole');
});

test('steps that take longer by a twentieth are told of, what was told meanwhile counted, and the first that is known', () => {
  const slower = [{}, { stepMs: 41.9 }, { stepMs: 42.1 }, { stepMs: 40.5 }, { stepMs: 40 }, {}];
  expect(told(...slower)).toBe('whole nothing numbers nothing numbers whole');
  expect(told({ stepMs: 0 }, { stepMs: 40 }, {})).toBe('whole numbers whole');
});

test('other cached beginnings are told once', () => {
  expect(told({}, { prefixes: 1 }, { prefixes: 1 }, {})).toBe('whole whole nothing whole');
});
