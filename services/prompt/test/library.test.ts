import { randomUUID } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { PromptTask } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stage, stage } from './stage.ts';

let at: Stage | undefined;
beforeAll(async () => {
  at = await stage({});
});
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
});

test('a ready prompt is listed, installed with its origin, and left alone once it is changed', async (t) => {
  if (!at) return t.skip();
  const { library, prompts } = at;
  const { entries } = await library.listLibrary({ language: 'zh', task: PromptTask.CLASSIFICATION });
  expect(entries.map(({ name }) => name)).toEqual(['classification-zh']);
  const request = { requestId: randomUUID(), entry: 'classification-zh', name: 'tickets', folder: 'support' };
  const first = await library.installFromLibrary(request);
  expect(first).toMatchObject({
    created: true,
    prompt: { name: 'tickets', folder: 'support', task: PromptTask.CLASSIFICATION, latestVersion: '1.0.0' },
    version: { origin: 'library:classification-zh/1.0.0', author: 'key:editor' },
  });
  expect(await library.installFromLibrary(request)).toEqual(first);
  const again = await library.installFromLibrary({ entry: 'classification-zh', name: 'tickets' });
  expect(again).toMatchObject({ created: false, version: { version: '1.0.0' } });
  const rendered = await prompts.renderPrompt({ name: 'tickets', variables: { text: '退钱' } });
  expect(rendered.examples).toEqual([0, 1, 2, 3]);
  await prompts.createVersion({ name: 'tickets', draft: { text: 'x' } });
  await expect(
    library.installFromLibrary({ entry: 'classification-zh', name: 'tickets' }),
  ).rejects.toMatchObject({
    code: status.ALREADY_EXISTS,
    reason: 'PROMPT_DIFFERS',
  });
  await expect(library.installFromLibrary({ entry: 'poems' })).rejects.toMatchObject({
    code: status.NOT_FOUND,
  });
});

test('a prompt goes out as a file and comes back as it was, and a repeat changes nothing', async (t) => {
  if (!at) return t.skip();
  const { library, prompts } = at;
  await library.installFromLibrary({ entry: 'extraction-en', name: 'appointments' });
  const { content, fileName, version } = await library.exportPrompt({ name: 'appointments' });
  expect([fileName, version]).toEqual(['appointments.prompt.md', '1.0.0']);
  const same = await library.importPrompt({ content });
  expect(same).toMatchObject({
    created: false,
    version: { version: '1.0.0', origin: 'library:extraction-en/1.0.0' },
  });
  const copy = await library.importPrompt({ content, name: 'copied', folder: 'from/git' });
  const original = await prompts.getPrompt({ name: 'appointments' });
  expect(copy).toMatchObject({
    created: true,
    prompt: { description: original.prompt!.description, folder: 'from/git' },
  });
  expect(copy.version!.digest).toBe(original.version!.digest);
  const edited = content.replace('Do not guess.', 'Never guess.');
  await expect(library.importPrompt({ content: edited })).rejects.toMatchObject({
    code: status.ALREADY_EXISTS,
    reason: 'VERSION_DIFFERS',
  });
  const next = edited.replace('version: 1.0.0\n', '').replace(/^description: .*$/m, 'description: other');
  const made = await library.importPrompt({ content: next });
  expect(made).toMatchObject({
    created: true,
    version: { version: '1.1.0' },
    prompt: { description: 'other' },
  });
  expect(made.changes.map(({ path }) => path)).toEqual(['messages[0].template']);
  expect(await library.importPrompt({ content: next })).toMatchObject({
    created: false,
    version: { version: '1.1.0' },
  });
});

test.each([
  ['no file', 'x', 'line 1'],
  ['a name that is none', '---\nlandfall_prompt: 1\nname: A B\n---\n::: user\nx\n', 'name'],
  ['no name', '---\nlandfall_prompt: 1\n---\n::: user\nx\n', 'give a name'],
  ['an empty turn', '---\nlandfall_prompt: 1\nname: a\n---\n::: user\n', 'draft.messages[0].template'],
  [
    'an undeclared name',
    '---\nlandfall_prompt: 1\nname: a\nvariables: [{name: q}]\n---\n::: user\n{z}\n',
    '{z} is no declared',
  ],
])('%s is no prompt', async (_name, content, message) => {
  if (!at) return;
  await expect(at.library.importPrompt({ content })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    message: expect.stringContaining(message),
  });
});

test('what a draft lacks is told for its task', async (t) => {
  if (!at) return t.skip();
  const reply = await at.prompts.lintPrompt({
    draft: { text: '把{q}分类' },
    task: PromptTask.CLASSIFICATION,
  });
  expect(reply.task).toBe(PromptTask.CLASSIFICATION);
  expect(new Set(reply.findings.map(({ principle }) => principle)).size).toBeGreaterThan(2);
  const [clean] = (await at.library.listLibrary({ language: 'en' })).entries;
  expect((await at.prompts.lintPrompt({ draft: clean!.draft! })).findings).toEqual([]);
});
