import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { Scratch } from './scratch.ts';

it('removes what dead processes have left, and nothing of those that live', async () => {
  const home = mkdtempSync(path.join(tmpdir(), 'landfall-scratch-'));
  const neighbour = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  const dead = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' });
  await once(dead, 'exit');
  try {
    const leave = (name: string) => {
      mkdirSync(path.join(home, 'scratch', name, 'prepare-x'), { recursive: true });
      writeFileSync(path.join(home, 'scratch', name, 'prepare-x', 'rows.jsonl'), 'a row');
    };
    for (const name of [String(dead.pid), String(neighbour.pid), String(process.pid), 'other']) leave(name);
    const scratch = new Scratch(home);
    await scratch.sweep();
    expect(readdirSync(path.join(home, 'scratch'))).toEqual([String(neighbour.pid)]);
    {
      await using folder = await scratch.folder('prepare');
      expect(existsSync(folder.path)).toBe(true);
    }
    expect(readdirSync(path.join(home, 'scratch', String(process.pid)))).toEqual([]);
  } finally {
    neighbour.kill('SIGKILL');
    await once(neighbour, 'exit');
    rmSync(home, { recursive: true, force: true });
  }
});
