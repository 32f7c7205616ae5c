import { readFileSync } from 'node:fs';

/** A process that can be told from a later one with the same id. */
export interface ProcessMark {
  pid: number;
  /** Start time in clock ticks since boot (field 22 of /proc/PID/stat); absent where there is no /proc. */
  startTicks?: string;
}

function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name stands in parentheses and may hold spaces: count from behind it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

export function markProcess(pid: number): ProcessMark {
  const ticks = startTicks(pid);
  return ticks ? { pid, startTicks: ticks } : { pid };
}

/** Whether the marked process still runs. Without a start time it is never taken for the same. */
export function isSameProcess(mark: ProcessMark): boolean {
  return mark.startTicks !== undefined && startTicks(mark.pid) === mark.startTicks;
}
