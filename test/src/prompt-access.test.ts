import { afterAll, beforeAll, expect, test } from 'vitest';
import { PromptMesh } from './prompt-mesh.ts';

let mesh: PromptMesh | undefined;
beforeAll(async () => {
  mesh = await PromptMesh.start();
}, 60_000);
afterAll(() => mesh?.[Symbol.asyncDispose]());

test('keys of two people and a group release a prompt, by commands through the gateway', async (t) => {
  if (!mesh) return t.skip();
  const run = mesh.run.bind(mesh);
  for (const [who, ...more] of [
    ['li', '--role', 'editor', '--group', 'doctors'],
    ['wang', '--role', 'editor', '--group', 'doctors', '--group', 'board'],
    ['stranger', '--role', 'editor'],
  ] as const) {
    const { code, text } = await run('admin', 'keys', 'create', who, ...more);
    expect(code).toBe(0);
    mesh.keys.set(who, text);
  }
  await mesh.makePrompt('li', 'triage', 'medical/clinic');
  const granted = await run('admin', 'prompts', 'grant', 'medical/', 'group:doctors', 'editor');
  expect(granted.text).toBe(
    'group:doctors has editor on medical/; roles count there too, until prompts restrict medical/',
  );
  expect((await run('admin', 'prompts', 'restrict', 'medical/')).text).toBe('grants alone count on medical/');
  expect(await run('stranger', 'prompts', 'show', 'triage')).toMatchObject({
    code: 1,
    text: expect.stringContaining("there is no prompt 'triage'"),
  });
  expect((await run('stranger', 'prompts', 'list')).text).toBe('no name');
  expect((await run('wang', 'prompts', 'explain', 'triage', 'editor')).text).toContain(
    'group:doctors was given editor on folders/medical',
  );
  const protecting = ['prompts', 'protect', 'medical/', 'production', '--approver', 'group:board'];
  expect((await run('admin', ...protecting)).text).toBe('production of medical/ takes 1 approval');
  const refused = await run('li', 'prompts', 'label', 'triage@production', '1.0.0');
  expect(refused).toMatchObject({ code: 1, text: expect.stringContaining('RequestLabelMove') });
  const asked = await run('li', 'prompts', 'label', 'triage@production', '1.0.0', '--request');
  const [id] = asked.text.split(' ') as [string];
  expect(await run('li', 'prompts', 'approve', id)).toMatchObject({
    code: 1,
    text: expect.stringContaining('who asked for a move does not decide on it'),
  });
  expect((await run('stranger', 'prompts', 'approve', id)).code).toBe(1);
  expect((await run('wang', 'prompts', 'moves')).text).toContain('triage@production');
  expect((await run('wang', 'prompts', 'approve', id)).text).toBe('triage@production is 1.0.0');
  expect((await run('li', 'prompts', 'history', 'triage@production')).text).toMatch(/1 +1\.0\.0 +approved/);
  const { text: record } = await run('admin', 'prompts', 'audit', '--target', 'triage');
  for (const what of [
    'label.moved',
    'move.approved',
    'move.requested',
    'version.created',
    'PERMISSION_DENIED',
  ])
    expect(record).toContain(what);
  expect((await run('li', 'prompts', 'grants', 'triage')).text).toMatch(/group:doctors +editor +medical\//);
  expect((await run('admin', 'prompts', 'revoke', 'medical/', 'group:doctors')).text).toContain(
    'has nothing',
  );
  expect((await run('wang', 'prompts', 'show', 'triage')).code).toBe(1);
}, 60_000);
