import { expect, test } from 'vitest';
import { Turns } from './turns.ts';

const never = new AbortController().signal;

test('so many at once, the others in their order; a turn ends once', async () => {
  const turns = new Turns(2);
  const began: string[] = [];
  const take = async (name: string, signal = never) => {
    const end = await turns.take(signal);
    began.push(name);
    return end;
  };
  const [a, b] = [await take('a'), await take('b')];
  const [c, d, e] = [take('c'), take('d'), take('e')];
  a();
  a();
  const endC = await c;
  expect(began).toEqual(['a', 'b', 'c']);
  b();
  endC();
  await Promise.all([d, e]);
  expect(began).toEqual(['a', 'b', 'c', 'd', 'e']);
});

test('who leaves while waiting gives no turn away, and takes none', async () => {
  const turns = new Turns(1);
  const end = await turns.take(never);
  const leaving = new AbortController();
  const left = turns.take(leaving.signal);
  const next = turns.take(never);
  leaving.abort(new Error('gone'));
  await expect(left).rejects.toThrow('gone');
  end();
  (await next)();
  (await turns.take(never))();
  await expect(turns.take(leaving.signal)).rejects.toThrow('gone');
});
