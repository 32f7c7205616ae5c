import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ROLE_NAMES } from './role-table.ts';
import { warmRoles } from './warm.ts';

test('roles are decided one a turn of the loop, so that calls pass in between, and not after the end', async () => {
  let turns = 0;
  let warm = true;
  const others = (async () => {
    for (; warm; turns++) await setImmediate();
  })();
  expect(await warmRoles(new AbortController().signal)).toBe(ROLE_NAMES.length);
  warm = false;
  await others;
  expect(turns).toBeGreaterThanOrEqual(ROLE_NAMES.length - 1);
  const ending = new AbortController();
  const warming = warmRoles(ending.signal);
  ending.abort();
  expect(await warming).toBe(0);
});
