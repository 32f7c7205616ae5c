import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { readLauncherConfig, repositoryRoot } from '@landfall/deploy/config.ts';
import { Mesh } from '@landfall/deploy/mesh/mesh.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';

const main = join(repositoryRoot, 'deploy/src/cli/main.ts');

let home: string;
let mesh: Mesh;
let environment: NodeJS.ProcessEnv;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'landfall-cli-'));
  const config = readLauncherConfig({ LANDFALL_HOME: home, LANDFALL_GATEWAY_PORT: '0' });
  const base = { ...process.env, LANDFALL_DATABASE_URL: '', LANDFALL_LOG_LEVEL: 'warn' };
  mesh = new Mesh({ ...config, environment: base });
  const { gateway } = await mesh.start();
  // The key is found in the state folder, as a person has it after `npm start`.
  environment = { ...process.env, LANDFALL_HOME: home, LANDFALL_URL: gateway, LANDFALL_API_KEY: '' };
}, 120_000);
afterAll(async () => {
  await mesh.stop();
  rmSync(home, { recursive: true, force: true });
}, 60_000);

async function cli(...args: string[]): Promise<{ code: number; out: string; error: string }> {
  const child = spawn(process.execPath, [main, ...args], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, error, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit'),
  ]);
  return { code: code as number, out: out.trim(), error };
}

test('a prompt from the library goes into a file, through review, and back', async () => {
  expect((await cli('prompts', 'library', '--language', 'zh')).out).toContain('classification-zh');
  const installed = await cli('prompts', 'install', 'classification-zh', '--name', 'tickets');
  expect(installed).toMatchObject({
    error: '',
    out: 'tickets/1.0.0 is made (library:classification-zh/1.0.0)',
  });
  const file = join(home, 'tickets.prompt.md');
  expect(await cli('prompts', 'export', 'tickets', '--out', file)).toMatchObject({ code: 0 });
  expect(await cli('prompts', 'lint', file)).toMatchObject({ code: 0 });
  expect((await cli('prompts', 'import', file)).out).toBe('tickets/1.0.0 is there already');
  const written = readFileSync(file, 'utf8');
  writeFileSync(
    file,
    written
      .replace('version: 1.0.0\n', '')
      .replace('## 示例\n', '')
      .replace(/^change_log: .*\n/m, ''),
  );
  const linted = await cli('prompts', 'lint', file);
  expect(linted).toMatchObject({ code: 1 });
  expect(linted.out).toContain('iterated/change_log (change_log)');
  expect((await cli('prompts', 'import', file)).out).toMatch(
    /^tickets\/1\.1\.0 is made\nminor {2}messages\[0\]\.template/,
  );
  expect((await cli('prompts', 'versions', 'tickets')).out).toMatch(/1\.1\.0 [\s\S]*1\.0\.0 /);
  const difference = await cli('prompts', 'diff', 'tickets', '1.0.0');
  expect(difference.out).toMatch(/^tickets 1\.0\.0 → 1\.1\.0: minor\n/);
  expect(difference.out).toContain('\n-## 示例\n');
  expect((await cli('prompts', 'lint', 'tickets', '--json')).out).toContain('"change_log"');
});

test('from a file of rows to a tuned model that answers, by commands alone', async () => {
  const rows = Array.from({ length: 12 }, (_, i) => ({
    question: `第${i}个问题是什么?`,
    answer: `回答 ${i}。`,
  }));
  const file = join(home, 'rows.jsonl');
  writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  expect(await cli('models', 'import', 'base', 'base-model')).toMatchObject({
    code: 0,
    out: 'models:/base/1.0.0',
  });
  expect(await cli('datasets', 'create', 'rows', file)).toMatchObject({ code: 0, out: 'models:/rows/1.0.0' });

  const prepared = await cli('datasets', 'prepare', 'rows', '--keep-near-duplicates', '--json');
  expect(prepared).toMatchObject({ code: 0 });
  const { dataset } = JSON.parse(prepared.out) as { dataset: string };
  const report = join(home, 'report.md');
  expect(await cli('datasets', 'download', dataset, 'report.md', report)).toMatchObject({ code: 0 });
  expect(readFileSync(report, 'utf8')).toContain('models:/rows/1.0.0');

  const advice = await cli('recommend', '--base', 'base', '--data', dataset);
  expect(advice.out).toMatch(/^lora: /);
  const trained = await cli(
    'train',
    'tuned',
    '--base',
    'base',
    '--data',
    dataset,
    '--epochs',
    '1',
    '--follow',
  );
  expect(trained.code).toBe(0);
  expect(trained.out).toMatch(/^succeeded: models:\/tuned\/1\.0\.0\n/);
  expect(trained.error).toMatch(/ % {2}train {2}step \d+\/\d+/);
  const jobs = JSON.parse((await cli('jobs', 'list', '--json')).out) as { jobs: { id: string }[] };
  expect((await cli('jobs', 'show', jobs.jobs[0]!.id)).out).toContain('succeeded');
  expect((await cli('models', 'lineage', 'tuned')).out).toMatch(
    new RegExp(`${dataset} +train +models:/tuned/1.0.0`),
  );

  expect((await cli('models', 'alias', 'tuned/1.0.0', 'production')).code).toBe(0);
  expect(await cli('deploy', 'chat', 'tuned@production')).toMatchObject({ code: 0 });
  expect((await cli('deployments', 'list')).out).toContain('1/1');
  const answered = await cli('chat', 'chat', '第3个问题是什么?', '--max-tokens', '8', '--json');
  expect(answered.code).toBe(0);
  expect(JSON.parse(answered.out)).toHaveProperty('text');

  expect((await cli('cache', 'policy', 'on', '--ttl', '60')).out).toContain('60 s');
  const kept = ['chat', 'chat', '第3个问题是什么?', '--max-tokens', '8', '--json'];
  expect((await cli(...kept)).out).toBe(answered.out);
  expect((await cli(...kept)).out).toBe(answered.out);
  expect(JSON.parse((await cli('cache', 'stats', '--json')).out)).toMatchObject({
    statistics: { hits: '1', misses: '1', entries: '1' },
  });
  expect((await cli('cache', 'purge', '--model', 'chat')).out).toBe('1 answer was dropped');
  const requests = [{ types: ['phone'], action: 'PERSONAL_DATA_ACTION_MASK' }];
  writeFileSync(join(home, 'policy.json'), JSON.stringify({ rules: [{ routes: ['*'], requests }] }));
  const asks = ['prompts', 'invoke', 'tickets', '--deployment', 'chat'];
  expect(await cli(...asks, '--set', 'text=请回电 13912345678')).toMatchObject({ code: 0 });
  const dryRun = await cli('policies', 'dry-run', join(home, 'policy.json'));
  expect(dryRun.out).toMatch(/^1 invocations [\s\S]*\nphone +requests +passes -> changed +1 /);

  const secret = await cli('keys', 'create', 'viewer', '--role', 'viewer');
  environment = { ...environment, LANDFALL_API_KEY: secret.out };
  const refused = await cli('models', 'alias', 'tuned/1.0.0', 'other');
  expect(refused.code).toBe(1);
  expect(refused.error).toContain('PermissionDenied');
  expect((await cli('models', 'list', '--json')).code).toBe(0);
}, 180_000);
