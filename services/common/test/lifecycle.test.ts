import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { atEnd } from './echo.ts';

const program = join(import.meta.dirname, 'programs/service.ts');

interface Run {
  child: ChildProcess;
  out: () => string;
  err: () => string;
  ended: Promise<[number | null, NodeJS.Signals | null]>;
}

function start(env: NodeJS.ProcessEnv, ipc = false): Run {
  const child = spawn(process.execPath, [program], {
    env: { ...process.env, LANDFALL_GRACE_MS: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe', ...(ipc ? (['ipc'] as const) : [])],
  });
  let out = '';
  let err = '';
  child.stdout!.on('data', (data) => (out += data));
  child.stderr!.on('data', (data) => (err += data));
  atEnd(() => child.kill('SIGKILL'));
  const ended = once(child, 'close') as Run['ended'];
  return { child, out: () => out, err: () => err, ended };
}

const ready = (run: Run) => expect.poll(run.out, { timeout: 10_000 }).toContain('"ready":true');

test.each(['SIGTERM', 'SIGINT'] as const)(
  '%s disposes in reverse order, and the process ends by itself',
  async (signal) => {
    const run = start({});
    await ready(run);
    const line = JSON.parse(run.out().split('\n')[0]!);
    expect(line).toEqual({
      ready: true,
      service: 'small',
      pid: run.child.pid,
      address: '127.0.0.1:1',
      metrics: '',
    });
    run.child.kill(signal);
    expect(await run.ended).toEqual([0, null]);
    expect(run.out().split('\n').slice(1)).toEqual([
      'last opened, first closed',
      'server closed',
      'main has ended',
      '',
    ]);
  },
);

test('a parent that listens hears when it is ready, and is not waited for', async () => {
  const run = start({}, true);
  const [message] = await once(run.child, 'message');
  expect(message).toMatchObject({ ready: true, service: 'small' });
  run.child.kill('SIGTERM');
  expect(await run.ended).toEqual([0, null]);
});

test.each([
  ['fails', 'no room'],
  ['rejects', 'nobody waits'],
])('a service that %s ends with code 1 and says why', async (mode, why) => {
  const run = start({ MODE: mode });
  expect(await run.ended).toEqual([1, null]);
  expect(run.err()).toContain(why);
  expect(run.err()).toContain('"level":"fatal"');
});

test('a start that fails undoes what it had done', async () => {
  const run = start({ MODE: 'fails-late' });
  expect(await run.ended).toEqual([1, null]);
  expect(run.out()).toBe('first undone\n');
});

test('a signal during the start is obeyed', async () => {
  const run = start({ MODE: 'hangs', LANDFALL_LOG_LEVEL: 'info' });
  await expect.poll(run.out, { timeout: 10_000 }).toContain('starting');
  run.child.kill('SIGTERM');
  // The start still holds a timer, which is left behind after five seconds.
  expect(await run.ended).toEqual([0, null]);
  expect(run.out()).toBe('starting\nmain has ended\n');
}, 20_000);

test('a handle that was left open is named, and does not hold the process', async () => {
  const run = start({ MODE: 'leaks' });
  await ready(run);
  run.child.kill('SIGTERM');
  expect(await run.ended).toEqual([0, null]);
  expect(run.err()).toContain('something was left open');
  expect(run.err()).toContain('TCPServerWrap');
}, 20_000);

test('a disposal that hangs ends with code 1', async () => {
  const run = start({ MODE: 'stuck' });
  await ready(run);
  run.child.kill('SIGTERM');
  expect(await run.ended).toEqual([1, null]);
  expect(run.err()).toContain('did not stop in time');
}, 30_000);

test('a second signal ends it at once', async () => {
  const run = start({ MODE: 'stuck' });
  await ready(run);
  run.child.kill('SIGTERM');
  await expect.poll(run.err).toContain('draining');
  run.child.kill('SIGTERM');
  expect(await run.ended).toEqual([null, 'SIGTERM']);
});

test('a wrong variable is named', async () => {
  const run = start({ LANDFALL_LOG_LEVEL: 'loud' });
  expect(await run.ended).toEqual([1, null]);
  expect(run.err()).toContain('LANDFALL_LOG_LEVEL is loud');
});

test('it ends with its parent where it is told to', async () => {
  const parent = spawn('sh', ['-c', '"$0" "$1" & echo $!; wait', process.execPath, program], {
    env: { ...process.env, LANDFALL_END_WITH_PARENT: 'true', LANDFALL_GRACE_MS: '0' },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  atEnd(() => parent.kill('SIGKILL'));
  let out = '';
  parent.stdout.on('data', (data) => (out += data));
  await expect.poll(() => out, { timeout: 10_000 }).toContain('"ready":true');
  const pid = Number(out.split('\n')[0]);
  parent.kill('SIGKILL');
  const lives = () => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  await expect.poll(lives, { timeout: 10_000 }).toBe(false);
});
