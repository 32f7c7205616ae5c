import { Metadata, status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import * as errors from './errors.ts';
import { DETAILS_KEY, detailTrailers, errorFromStatus, headerMessage } from './status-details.ts';

test('every error comes back from its trailers as it was', () => {
  const { LandfallError, invalidArgument, ...others } = errors;
  const made = [
    invalidArgument('spec.rank', 'must be positive'),
    new LandfallError(status.INVALID_ARGUMENT, 'two', {
      reason: 'TWO',
      fieldViolations: [
        { field: 'a', description: '不行' },
        { field: 'b', description: 'no' },
      ],
    }),
    ...Object.values(others).map((factory) => factory('what was wrong', { metadata: { id: '7' } })),
    errors.resourceExhausted('full', { retryAfterMs: 1999.9999999 }),
    errors.unavailable('soon', { retryAfterMs: 0 }),
  ];
  for (const error of made) {
    const back = errorFromStatus(error.code, error.message, detailTrailers(error));
    const { code, message, reason, fieldViolations, metadata } = error;
    expect(back).toMatchObject({ code, message, reason, fieldViolations, metadata });
    const { retryAfterMs } = error;
    expect(back.retryAfterMs).toBe(retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs));
  }
});

test('details that are nonsense do no harm', () => {
  for (const bytes of [Buffer.from([0xff, 0xff]), Buffer.alloc(0), Buffer.from('nonsense')]) {
    const trailers = new Metadata();
    trailers.set(DETAILS_KEY, bytes);
    const back = errorFromStatus(status.NOT_FOUND, 'gone', trailers);
    expect(back).toMatchObject({ code: status.NOT_FOUND, message: 'gone' });
  }
});

test('what grpc-js says of sockets and addresses stays in the cause', () => {
  const said = 'No connection established. Last error: connect ECONNREFUSED 127.0.0.1:4242';
  for (const code of [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.INTERNAL, status.UNKNOWN]) {
    const error = errorFromStatus(code, said, new Metadata());
    expect(error.message).not.toContain('4242');
    expect((error.cause as Error).message).toBe(said);
    expect(error.reason).toBe(status[code]);
  }
});

test('messages fit into a header', () => {
  expect(headerMessage('fine')).toBe('fine');
  expect(headerMessage('x'.repeat(1e6)).length).toBeLessThan(3000);
  expect(() => encodeURI(headerMessage(`${'x'.repeat(2047)}😀`))).not.toThrow();
});
