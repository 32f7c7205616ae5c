import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Resident memory of a process, in MiB; undefined where the system does not tell. */
export function residentMib(pid: number): number | undefined {
  try {
    const kib = process.platform === 'linux' ? ofProc(pid) : ofPs(pid);
    return Number.isFinite(kib) && kib > 0 ? kib / 1024 : undefined;
  } catch {
    // It has ended meanwhile.
    return undefined;
  }
}

function ofProc(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib);
}

function ofPs(pid: number): number {
  const out = execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return Number(out.trim());
}
