import { describe, expect, test } from 'vitest';
import { AdapterTable, AdapterTableFullError } from './adapter-table.ts';

function tableOf(slots: number) {
  const cleared: number[] = [];
  const table = new AdapterTable(slots, (slot) => cleared.push(slot));
  const loaded: string[] = [];
  const add = (key: string) =>
    table.add(key, async (slot) => {
      loaded.push(`${key}@${slot}`);
    });
  return { table, cleared, loaded, add };
}

describe('AdapterTable', () => {
  test('the idle adapter that was used longest ago makes room; one in use never does', async () => {
    const { table, add, loaded, cleared } = tableOf(2);
    await add('a');
    await add('b');
    expect(table.acquire('a')).toBe(1);
    await add('c');
    expect(loaded).toEqual(['a@1', 'b@2', 'c@2']);
    expect(cleared).toEqual([2]);
    expect(table.keys).toEqual(['a', 'c']);
    table.acquire('c');
    await expect(add('d')).rejects.toThrow(AdapterTableFullError);
    table.release('a');
    await add('d');
    expect(table.keys).toEqual(['c', 'd']);
  });

  test('removal waits for the last request, and takes no new one', async () => {
    const { table, add, cleared } = tableOf(2);
    await add('a');
    table.acquire('a');
    table.acquire('a');
    let gone = false;
    const removal = table.remove('a').then((was) => {
      gone = true;
      return was;
    });
    expect(table.acquire('a')).toBeUndefined();
    table.release('a');
    await Promise.resolve();
    expect(gone).toBe(false);
    table.release('a');
    expect(await removal).toBe(true);
    expect(cleared).toEqual([1]);
    expect(await table.remove('a')).toBe(false);
  });

  test('one that is asked for again while it waits to go stays', async () => {
    const { table, add, loaded, cleared } = tableOf(1);
    await add('a');
    table.acquire('a');
    const removal = table.remove('a');
    expect(table.keys).toEqual([]);
    await add('a');
    expect(await removal).toBe(false);
    expect(table.acquire('a')).toBe(1);
    table.release('a');
    table.release('a');
    expect(table.keys).toEqual(['a']);
    expect([loaded, cleared]).toEqual([['a@1'], []]);
  });

  test('an adapter that fails to load leaves its slot free', async () => {
    const { table, add } = tableOf(1);
    await expect(
      table.add('bad', async () => {
        throw new Error('shapes');
      }),
    ).rejects.toThrow('shapes');
    await add('good');
    expect(table.keys).toEqual(['good']);
  });
});
