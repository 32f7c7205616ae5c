import { status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { Turns } from './turns.ts';

test('turns are given in order, up to a bound, and left by who no longer waits', async () => {
  const turns = new Turns({ running: 1, waiting: 2 });
  const never = new AbortController().signal;
  const order: string[] = [];
  const first = await turns.take(never);
  const gone = new AbortController();
  const left = turns.take(gone.signal);
  const second = turns.take(never).then((turn) => {
    order.push('second');
    return turn;
  });
  await expect(turns.take(never)).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  gone.abort(new Error('gone'));
  await expect(left).rejects.toThrow('gone');
  expect(order).toEqual([]);
  first[Symbol.dispose]();
  (await second)[Symbol.dispose]();
  (await turns.take(never))[Symbol.dispose]();
  await expect(turns.take(gone.signal)).rejects.toThrow('gone');
});
