import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { findByEnvironment, isRunning, processMark } from './process-mark.ts';

test('a process is told from what has its id later, and found by its environment', async () => {
  const value = `mark-${process.pid}-${Date.now()}`;
  const child = spawn('sleep', ['60'], {
    detached: true,
    env: { ...process.env, LANDFALL_REPLICA_ID: value },
  });
  await once(child, 'spawn');
  const pid = child.pid!;
  const mark = processMark(pid)!;
  expect(mark).not.toBe('');
  expect(isRunning(pid, mark)).toBe(true);
  expect(isRunning(pid, `${mark}0`)).toBe(false);
  expect(isRunning(pid, '')).toBe(false);
  if (process.platform === 'linux') {
    expect(findByEnvironment('LANDFALL_REPLICA_ID', value)).toBe(pid);
    expect(findByEnvironment('LANDFALL_REPLICA_ID', `${value}-other`)).toBeUndefined();
  }
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(isRunning(pid, mark)).toBe(false);
  expect(processMark(0)).toBeUndefined();
});
