import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** A process as the system shows it. */
interface ProcessFacts {
  /** One letter; Z for one that has ended and waits for its parent. */
  state: string;
  /** Process id of its session's leader. */
  session: string;
  /** Start time in clock ticks since boot. */
  startTicks: string;
}

function readProc(pid: number): ProcessFacts | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name stands in parentheses and may hold spaces and parentheses: count from behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0]!, session: fields[3]!, startTicks: fields[19]! };
  } catch {
    return undefined;
  }
}

const isLinux = process.platform === 'linux';
const boot = isLinux ? readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() : '';

/**
 * What tells a running process from a later one with the same id: when it started, and since which boot.
 * @returns undefined when no such process runs (one that has ended and was not waited for counts as ended)
 */
export function processMark(pid: number): string | undefined {
  if (pid <= 0) return undefined;
  if (isLinux) {
    const facts = readProc(pid);
    return facts && !['Z', 'X'].includes(facts.state) ? `${boot}:${facts.startTicks}` : undefined;
  }
  try {
    const out = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [state, ...start] = out.trim().split(/\s+/);
    return state?.startsWith('Z') || start.length === 0 ? undefined : start.join(' ');
  } catch {
    return undefined;
  }
}

export function isRunning(pid: number, mark: string): boolean {
  return mark !== '' && processMark(pid) === mark;
}

/**
 * The session leader that has a variable with this value in its environment, which is how a replica is found whose
 * starter died before it could write the pid down. Only where the system shows environments (Linux).
 */
export function findByEnvironment(name: string, value: string): number | undefined {
  if (!isLinux) return undefined;
  const wanted = `${name}=${value}`;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || readProc(Number(entry))?.session !== entry) continue;
    try {
      const environment = readFileSync(`/proc/${entry}/environ`, 'utf8').split('\0');
      if (environment.includes(wanted)) return Number(entry);
    } catch {
      // Ended meanwhile, or somebody else's.
    }
  }
  return undefined;
}
