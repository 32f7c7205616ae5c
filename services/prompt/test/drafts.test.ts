import { randomUUID } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { ChangeKind } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stage, stage } from './stage.ts';

let at: Stage | undefined;
beforeAll(async () => {
  at = await stage({});
});
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
});

const draft = (template: string, more: object = {}) => ({ messages: [{ role: 'user', template }], ...more });

test('a draft is saved, read, changed and published as the version that its changes propose', async (t) => {
  if (!at) return t.skip();
  const { prompts, drafts } = at;
  await prompts.createPrompt({ name: 'care', draft: draft('一 {q}') });
  const place = { prompt: 'care', draftName: 'shorter' };
  const requestId = randomUUID();
  const request = { ...place, requestId, draft: draft('一 {q} {age', { variables: [{ name: 'age' }] }) };
  const first = (await drafts.saveDraft(request)).draft!;
  expect(first).toMatchObject({ revision: 1n, baseVersion: '1.0.0', author: 'key:editor' });
  expect(first.problems).toEqual([expect.stringContaining('{q} is no declared variable')]);
  expect((await drafts.saveDraft(request)).draft).toEqual(first);
  const publish = (revision: bigint) =>
    drafts.publishDraft({ ...place, revision, requestId: `p${revision}` });
  await expect(publish(1n)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  const second = (await drafts.saveDraft({ ...place, revision: 1n, draft: draft('一 {q} {age}') })).draft!;
  expect(second).toMatchObject({ revision: 2n, problems: [], proposedVersion: '2.0.0' });
  await expect(drafts.saveDraft({ ...place, revision: 1n, draft: draft('mine') })).rejects.toMatchObject({
    code: status.ABORTED,
    message: expect.stringContaining('at revision 2'),
  });
  await expect(drafts.saveDraft({ ...place, draft: draft('new') })).rejects.toMatchObject({
    code: status.ABORTED,
  });
  expect(await drafts.getDraft(place)).toMatchObject({
    draft: { revision: 2n, draft: { messages: [{ template: '一 {q} {age}' }] } },
  });
  const comparison = await prompts.diffVersions({ name: 'care', toDraft: 'shorter' });
  expect(comparison).toMatchObject({ from: '1.0.0', to: '', kind: ChangeKind.MAJOR });
  expect(comparison.changes.map(({ path }) => path)).toEqual(['variables.age', 'messages[0].template']);
  const published = await publish(2n);
  expect(published.version).toMatchObject({
    version: '2.0.0',
    author: 'key:editor',
    change: ChangeKind.MAJOR,
  });
  expect(await publish(2n)).toEqual(published);
  await expect(drafts.getDraft(place)).rejects.toMatchObject({ code: status.NOT_FOUND });
});

test('a draft whose base is no longer the newest is not published over what it has not seen', async (t) => {
  if (!at) return t.skip();
  const { prompts, drafts } = at;
  await prompts.createPrompt({ name: 'base', draft: draft('a') });
  const place = { prompt: 'base', draftName: 'd' };
  await drafts.saveDraft({ ...place, draft: draft('b') });
  await prompts.createVersion({ name: 'base', draft: draft('c') });
  const { draft: stale } = await drafts.getDraft(place);
  expect(stale!.problems).toEqual([expect.stringContaining('version 1.1.0 is newer than its base 1.0.0')]);
  await expect(drafts.publishDraft({ ...place, revision: 1n })).rejects.toMatchObject({
    code: status.ABORTED,
    message: expect.stringContaining('base_version 1.1.0'),
  });
  expect((await prompts.getPrompt({ name: 'base' })).prompt!.latestVersion).toBe('1.1.0');
  await drafts.saveDraft({ ...place, revision: 1n, baseVersion: '1.1.0', draft: draft('b') });
  expect((await drafts.publishDraft({ ...place, revision: 2n })).version!.version).toBe('1.2.0');
});

test('drafts of a prompt are listed, thrown away, and bounded', async (t) => {
  if (!at) return t.skip();
  const { prompts, drafts } = at;
  await prompts.createPrompt({ name: 'many', draft: draft('a') });
  const save = (i: number) => drafts.saveDraft({ prompt: 'many', draftName: `d${i}`, draft: draft('b') });
  for (let i = 0; i < 64; i++) await save(i);
  await expect(save(64)).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
  await drafts.deleteDraft({ prompt: 'many', draftName: 'd0' });
  await drafts.deleteDraft({ prompt: 'many', draftName: 'd0' });
  await save(64);
  const listed = (await drafts.listDrafts({ prompt: 'many' })).drafts;
  expect(listed).toHaveLength(64);
  expect(listed.map(({ draftName }) => draftName)).not.toContain('d0');
});

test('the kind of change proposes the number, versions are listed, and two are compared', async (t) => {
  if (!at) return t.skip();
  const { prompts } = at;
  const variables = [{ name: 'q', required: true, description: 'x' }];
  await prompts.createPrompt({ name: 'series', draft: draft('a\nb {q}', { variables }) });
  const next = async (one: object) => {
    const { version, changes } = await prompts.createVersion({ name: 'series', draft: one as never });
    return [version!.version, changes.map(({ path }) => path)];
  };
  expect(await next(draft('a\nc {q}', { variables }))).toEqual(['1.1.0', ['messages[0].template']]);
  const described = [{ ...variables[0], description: 'y' }];
  expect(await next(draft('a\nc {q}', { variables: described }))).toEqual([
    '1.1.1',
    ['variables.q.description'],
  ]);
  expect(await next(draft('a\nc', { changeLog: 'no question' }))).toEqual([
    '2.0.0',
    ['variables.q', 'messages[0].template'],
  ]);
  const listed: string[] = [];
  let pageToken = '';
  do {
    const page = await prompts.listVersions({ name: 'series', pageSize: 3, pageToken });
    listed.push(
      ...page.versions.map(({ version, changeLog, messages }) => `${version}${changeLog}${messages.length}`),
    );
    pageToken = page.nextPageToken;
  } while (pageToken);
  expect(listed).toEqual(['2.0.0no question0', '1.1.10', '1.1.00', '1.0.00']);
  const whole = await prompts.diffVersions({ name: 'series', from: '1.0.0', to: '1.1.1' });
  expect(whole.turns[0]!.lines.map(({ text }) => text)).toEqual(['a', 'b {q}', 'c {q}']);
  expect(await prompts.diffVersions({ name: 'series' })).toMatchObject({ from: '1.1.1', to: '2.0.0' });
  await expect(prompts.diffVersions({ name: 'series', to: '1.0.0' })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    message: expect.stringContaining('is the first version'),
  });
});

test('versions made at the same time get numbers of their own', async (t) => {
  if (!at) return t.skip();
  const { prompts } = at;
  await prompts.createPrompt({ name: 'race', draft: draft('0') });
  const made = await Promise.all(
    Array.from({ length: 8 }, (_, i) => prompts.createVersion({ name: 'race', draft: draft(`${i + 1}`) })),
  );
  expect(new Set(made.map(({ version }) => version!.version)).size).toBe(8);
  expect((await prompts.getPrompt({ name: 'race' })).prompt!.latestVersion).toBe('1.8.0');
});
