import { setImmediate } from 'node:timers/promises';
import { allowanceOf, ROLE_NAMES } from './role-table.ts';

/**
 * Decides on each role before somebody who has it comes: the first decision of a process takes a hundred milliseconds
 * and more, since WebAssembly is compiled as it runs. One role at a time, so that calls pass in between.
 * @param signal ends it early
 * @returns how many roles it came to
 */
export async function warmRoles(signal: AbortSignal): Promise<number> {
  let done = 0;
  for (const role of ROLE_NAMES) {
    await setImmediate();
    if (signal.aborted) break;
    allowanceOf([role]);
    done += 1;
  }
  return done;
}
