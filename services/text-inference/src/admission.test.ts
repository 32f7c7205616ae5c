import { LandfallError } from '@landfall/common/errors/errors.ts';
import { expect, test } from 'vitest';
import { Admission, type Ahead } from './admission.ts';

const limits = { batch: 2, queue: 1, queueTokens: 100 };
const idle: Ahead = { running: 0, queued: 0, queuedTokens: 0, promptTokenMs: 10 };

function refusal(attempt: () => unknown): string {
  try {
    attempt();
  } catch (error) {
    if (error instanceof LandfallError) return `${error.reason} ${error.retryAfterMs! >= 50}`;
    throw error;
  }
  return 'taken';
}

test('requests beyond the batch and the queue are refused until one leaves', () => {
  const admission = new Admission(limits);
  const leave = admission.enter();
  admission.enter();
  admission.enter();
  expect(refusal(() => admission.enter())).toBe('QUEUE_FULL true');
  leave();
  leave();
  expect(refusal(() => admission.enter())).toBe('taken');
  expect(refusal(() => admission.enter())).toBe('QUEUE_FULL true');
  expect(admission.refused).toBe(2);
});

test('tokens that wait are bounded; a single prompt of any size is taken where none waits', () => {
  const admission = new Admission(limits);
  const check = (tokens: number, queuedTokens: number) =>
    refusal(() => admission.check(tokens, Number.POSITIVE_INFINITY, { ...idle, queuedTokens }));
  expect(check(1000, 0)).toBe('taken');
  expect(check(40, 60)).toBe('taken');
  expect(check(41, 60)).toBe('QUEUE_FULL true');
});

test('what could not begin to answer before its deadline is not begun', () => {
  const admission = new Admission(limits);
  const check = (tokens: number, inMs: number, ahead: Partial<Ahead> = {}) =>
    refusal(() => admission.check(tokens, Date.now() + inMs, { ...idle, ...ahead }));
  expect(check(100, 5000)).toBe('taken');
  expect(check(100, 500)).toBe('DEADLINE_TOO_SOON true');
  expect(check(10, 500, { queuedTokens: 80 })).toBe('DEADLINE_TOO_SOON true');
  // Nothing is known of a replica that has computed nothing yet.
  expect(check(100_000, 500, { promptTokenMs: 0 })).toBe('taken');
  // With a full batch somebody has to end first: a second for two places is what is assumed at the start.
  expect(check(1, 400, { running: 2 })).toBe('DEADLINE_TOO_SOON true');
  expect(check(1, 4000, { running: 2 })).toBe('taken');
});
