import { readdirSync, readFileSync } from 'node:fs';

/** Ids of processes whose environment names a state folder: all that a mesh on it has started, at any depth. */
export function processesOf(home: string): number[] {
  const found: number[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    try {
      const environment = readFileSync(`/proc/${entry}/environ`, 'latin1').split('\0');
      // A process that has ended and waits for its parent has no memory, and no environment.
      if (environment.some((line) => line.startsWith('LANDFALL_HOME=') && line.includes(home)))
        found.push(Number(entry));
    } catch {
      // It has ended meanwhile, or belongs to somebody else.
    }
  }
  return found;
}
