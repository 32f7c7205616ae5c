/** Commands for kept answers and for what a policy would change, against a gateway, a prompt service and a replica. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { PromptMesh } from './prompt-mesh.ts';

let mesh: PromptMesh | undefined;
let asked = 0;
beforeAll(async () => {
  mesh = await PromptMesh.start(async function* ({ model }) {
    asked += 1;
    yield { delta: `回答 ${asked}`, model };
    yield { finishReason: FinishReason.STOP, usage: { inputTokens: 3, outputTokens: 4 } };
  });
}, 60_000);
afterAll(() => mesh?.[Symbol.asyncDispose]());
beforeEach(() => {
  asked = 0;
});

const admin = (...words: string[]) => mesh!.run('admin', ...words);
const json = async (...words: string[]) => {
  const { code, text } = await admin(...words, '--json');
  expect([words, code, text]).toEqual([words, 0, expect.any(String)]);
  return JSON.parse(text.split('\n').at(-1)!);
};

test('answers are kept, counted, and dropped by deployment', async (t) => {
  if (!mesh) return t.skip();
  expect((await admin('cache', 'policy')).text).toBe('no answers are kept');
  const set = await admin('cache', 'policy', 'on', '--ttl', '600', '--bypass', 'models:/x/1.0.0');
  expect(set.text).toMatch(/\nkept for +600 s\n[\s\S]*\npassing by +models:\/x\/1\.0\.0$/);
  expect(await json('cache', 'policy')).toMatchObject({
    policy: { enabled: true, ttl: '600s', bypassModels: ['models:/x/1.0.0'] },
  });
  const chat = async (model: string) => (await admin('chat', model, '养花要注意什么?')).text;
  for (const model of ['ward', 'ward', 'lab', 'ward']) await chat(model);
  expect(asked).toBe(2);
  expect(await json('cache', 'stats')).toMatchObject({
    statistics: { hits: '2', misses: '2', stored: '2', entries: '2', savedTokens: '8' },
  });
  const shown = await admin('cache', 'stats');
  expect(shown.text).toMatch(/^HITS +SIMILAR +MISSES +JOINED +SHARE .*\n2 +0 +2 +0 +50\.0 % /);
  expect(await admin('cache', 'purge', '--model', 'ward')).toEqual({
    code: 0,
    text: '1 answer was dropped',
  });
  expect(await chat('ward')).toBe('回答 3');
  expect(await chat('lab')).toBe('回答 2');
  expect(await json('cache', 'purge')).toEqual({ dropped: '2' });
  expect((await json('cache', 'stats')).statistics).not.toHaveProperty('entries');
  // Who may not keep the tenant's answers may not drop them.
  mesh.keys.set('viewer', (await admin('keys', 'create', 'v', '--role', 'viewer')).text);
  for (const words of [['purge'], ['policy', 'off']]) {
    const refused = await mesh.run('viewer', 'cache', ...words);
    expect(refused).toMatchObject({ code: 1, text: expect.stringContaining('PermissionDenied') });
  }
  expect((await admin('cache', 'policy', 'off')).text).toBe('no answers are kept');
  // Called wrongly.
  for (const [words, said] of [
    [['policy', 'maybe'], "set with on or off and not 'maybe'"],
    [['policy', 'on', '--embedding-model', 'models:/clip/1.0.0'], '--embedding-model needs --similar'],
  ] as const) {
    const wrong = await admin('cache', ...words);
    expect(wrong).toMatchObject({ code: 2, text: expect.stringContaining(said) });
  }
}, 60_000);

test('a policy is run over the log of invocations, and nothing is changed by it', async (t) => {
  if (!mesh) return t.skip();
  const file = join(mesh.folder, 'draft.json');
  const requests = [{ types: ['phone'], action: 'PERSONAL_DATA_ACTION_BLOCK' }];
  writeFileSync(file, JSON.stringify({ rules: [{ routes: ['*'], requests }] }));
  const none = await admin('policies', 'dry-run', file);
  expect(none).toMatchObject({ code: 1, text: expect.stringContaining('there is no traffic') });
  await mesh.makePrompt('admin', 'talk', '');
  await mesh.makePrompt('admin', 'other', '');
  const invoke = (prompt: string, q: string) =>
    admin('prompts', 'invoke', prompt, '--deployment', 'ward', '--set', `q=${q}`);
  for (const [prompt, q] of [
    ['talk', '我的电话是 13912345678'],
    ['talk', '养花'],
    ['other', '电话 13812345678'],
  ] as const)
    expect(await invoke(prompt, q)).toMatchObject({ code: 0 });
  const { report, ...counts } = await json('policies', 'dry-run', file);
  expect(counts).toEqual({ invocations: 3 });
  const change = { type: 'phone', before: 'DRY_RUN_OUTCOME_PASSES', after: 'DRY_RUN_OUTCOME_BLOCKED' };
  expect(report.changes).toMatchObject([{ ...change, count: 2 }]);
  const shown = await admin('policies', 'dry-run', file, '--prompt', 'talk');
  expect(shown).toMatchObject({ code: 0 });
  expect(shown.text).toMatch(
    /^2 invocations\n2 invocations \(0 without kept text\) and 0 waiting calls, against version 0\n/,
  );
  expect(shown.text).toMatch(/\nphone +requests +passes -> blocked +1 +[0-9a-f-]{36}$/);
  expect(shown.text).not.toContain('13912345678');
  const before = await admin('policies', 'dry-run', file, '--to', '2020-01-01');
  expect(before).toMatchObject({ code: 1, text: expect.stringContaining('there is no traffic') });
  expect(await admin('policies', 'dry-run', file, '--from', 'yesterday')).toMatchObject({ code: 2 });
  expect((await admin('policies', 'list')).text).toBe('no policies');
  mesh.keys.set('editor', (await admin('keys', 'create', 'e', '--role', 'editor')).text);
  const refused = await mesh.run('editor', 'policies', 'dry-run', file);
  expect(refused).toMatchObject({ code: 1, text: expect.stringContaining('PermissionDenied') });
}, 60_000);
