import { expect, test } from 'vitest';
import { RateLimiter } from './rate-limiter.ts';

const rate = { requestsPerMinute: 60, concurrentRequests: 1000 };

test('admits a burst, then one request a second, and says when to come again', () => {
  let now = 0;
  const limiter = new RateLimiter(() => now);
  for (let i = 0; i < 10; i++) expect(limiter.admit('a', rate).admitted).toBe(true);
  const refused = limiter.admit('a', rate);
  expect(refused).toMatchObject({ admitted: false, retryAfterMs: 1000 });
  expect(limiter.admit('b', rate).admitted).toBe(true);
  now += 999;
  expect(limiter.admit('a', rate).admitted).toBe(false);
  now += 1;
  expect(limiter.admit('a', rate).admitted).toBe(true);
  expect(limiter.admit('a', rate).admitted).toBe(false);
});

test('bounds requests in flight, and a place is given back once only', () => {
  const limiter = new RateLimiter(() => 0);
  const two = { requestsPerMinute: 6000, concurrentRequests: 2 };
  const first = limiter.admit('a', two);
  limiter.admit('a', two);
  expect(limiter.admit('a', two).admitted).toBe(false);
  if (first.admitted) {
    first.release();
    first.release();
  }
  expect(limiter.admit('a', two).admitted).toBe(true);
  expect(limiter.admit('a', two).admitted).toBe(false);
});
