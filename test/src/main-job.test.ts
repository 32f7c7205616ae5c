import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { processesOf } from './processes.ts';

const demo = join(import.meta.dirname, '../../deploy/src/demo/main.ts');

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'landfall-main-job-'));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

async function runDemo(env: NodeJS.ProcessEnv): Promise<{ code: number; last: string; progress: string }> {
  const child = spawn(process.execPath, [demo], {
    env: { ...process.env, LANDFALL_HOME: home, LANDFALL_DATABASE_URL: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [output, progress, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ]);
  return { code: code as number, last: output.trimEnd().split('\n').at(-1)!, progress };
}

// The mesh is found by its processes' environment, which only Linux shows.
const linux = existsSync('/proc/self/environ');

test('the main job goes the whole way and leaves nothing behind', async () => {
  const { code, last, progress } = await runDemo({});
  expect(progress).toContain('landfall.registry.model.ready.v1');
  const result = JSON.parse(last);
  expect(result).toMatchObject({ ok: true, replicas: 2, modelReadyEvents: 1 });
  expect(code).toBe(0);
  expect(result.bleu.base).toBeLessThan(10);
  expect(result.bleu.tuned).toBeGreaterThan(40);
  expect(result.secondsFromJobEndToFirstAnswer).toBeGreaterThan(0);
  for (const step of result.steps)
    expect(step).toEqual({ name: expect.any(String), seconds: expect.any(Number) });
  expect(result.answers.map((answer: { question: string }) => answer.question)).toContain(
    '高血压患者日常饮食需要注意什么?',
  );
  for (const { base, tuned } of result.answers) {
    expect(tuned).not.toBe('');
    expect(tuned).not.toBe(base);
  }
  expect(result.inspections).toHaveLength(3);
  for (const { file, report, overlay } of result.inspections) {
    expect([existsSync(file), existsSync(overlay)]).toEqual([true, true]);
    expect(report.split('\n')).toHaveLength(6);
  }
  if (linux) expect(processesOf(home)).toEqual([]);
}, 600_000);

test('a step that fails is named, and the mesh is stopped', async () => {
  const { code, last, progress } = await runDemo({ LANDFALL_IMPORT_ROOT: home });
  expect(code).toBe(1);
  expect(JSON.parse(last)).toMatchObject({ ok: false });
  expect(progress).toContain('step "import" failed');
  expect(progress).toContain('folder');
  if (linux) expect(processesOf(home)).toEqual([]);
}, 120_000);

test.runIf(linux)(
  'a demo that is interrupted amid a step leaves nothing behind',
  async () => {
    const env = { ...process.env, LANDFALL_HOME: home, LANDFALL_DATABASE_URL: '' };
    const child = spawn(process.execPath, [demo], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    const exit = once(child, 'exit');
    for await (const line of createInterface({ input: child.stderr })) {
      if (line.includes('import the base model')) break;
    }
    child.kill('SIGTERM');
    await exit;
    expect(processesOf(home)).toEqual([]);
  },
  240_000,
);
