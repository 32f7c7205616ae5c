import { status } from '@grpc/grpc-js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stage, stage } from './stage.ts';

let at: Stage | undefined;
beforeAll(async () => {
  at = await stage({});
}, 60_000);
afterAll(() => at?.[Symbol.asyncDispose]());

const disposition = { conclusion: 'no', advice: 'stop' };
const spec = {
  language: 'en',
  lines: ['a', 'b'],
  sound: disposition,
  defectTypes: [{ id: 'hole', name: 'hole', dispositions: [disposition] }],
};

test('a profile has versions that never change, and takes the place of a built-in one for its tenant alone', async (t) => {
  if (!at) return t.skip();
  const { profiles } = at;
  const builtIn = (await profiles.getProfile({ name: 'surface' })).profile!;
  expect(builtIn).toMatchObject({ version: 0, author: '', spec: { language: 'zh', boxScale: 100 } });
  const put = await profiles.putProfile({ name: 'surface', spec, requestId: 'r1' });
  expect(put.profile).toMatchObject({ version: 1, author: 'key:editor', spec });
  expect(await profiles.putProfile({ name: 'surface', spec, requestId: 'r1' })).toEqual(put);
  await expect(
    profiles.putProfile({ name: 'surface', spec: { ...spec, product: 'x' }, requestId: 'r1' }),
  ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  await profiles.putProfile({ name: 'surface', spec: { ...spec, product: 'pipe' }, expectedVersion: 1 });
  await expect(profiles.putProfile({ name: 'surface', spec, expectedVersion: 1 })).rejects.toMatchObject({
    ...{ code: status.ABORTED, reason: 'VERSION_CHANGED' },
  });
  expect((await profiles.getProfile({ name: 'surface' })).profile).toMatchObject({ version: 2 });
  expect((await profiles.getProfile({ name: 'surface', version: 1 })).profile).toEqual(put.profile);
  const elsewhere = { identity: { subject: 'key:x', tenant: 'other', role: Role.EDITOR } };
  expect((await profiles.getProfile({ name: 'surface' }, elsewhere)).profile).toEqual(builtIn);
  await expect(profiles.getProfile({ name: 'surface', version: 1 }, elsewhere)).rejects.toMatchObject({
    code: status.NOT_FOUND,
  });
});

test('a deleted profile is gone, its versions can be read, and the next one goes on counting', async (t) => {
  if (!at) return t.skip();
  const { profiles } = at;
  await profiles.putProfile({ name: 'gone', spec });
  await profiles.deleteProfile({ name: 'gone', requestId: 'd1' });
  await profiles.deleteProfile({ name: 'gone', requestId: 'd1' });
  await expect(profiles.getProfile({ name: 'gone' })).rejects.toMatchObject({ code: status.NOT_FOUND });
  await expect(profiles.deleteProfile({ name: 'gone' })).rejects.toMatchObject({ code: status.NOT_FOUND });
  expect((await profiles.getProfile({ name: 'gone', version: 1 })).profile).toMatchObject({ version: 1 });
  expect((await profiles.putProfile({ name: 'gone', spec })).profile).toMatchObject({ version: 2 });
});

test('the list has own and built-in profiles once each, by name, page by page', async (t) => {
  if (!at) return t.skip();
  const { profiles } = at;
  const identity = { subject: 'key:x', tenant: 'lister', role: Role.EDITOR };
  for (const name of ['zz', 'surface', 'aa']) await profiles.putProfile({ name, spec }, { identity });
  const names: string[] = [];
  let pageToken = '';
  do {
    const found = await profiles.listProfiles({ pageSize: 2, pageToken }, { identity });
    names.push(...found.profiles.map(({ name, version }) => `${name} ${version}`));
    pageToken = found.nextPageToken;
  } while (pageToken !== '');
  expect(names).toEqual([
    ...['aa 1', 'figure-explained 0', 'scan-report 0', 'surface 1', 'surface-en 0', 'zz 1'],
  ]);
});

test.each([
  ['a prompt without the image', { ...spec, prompt: 'look' }, 'spec.prompt'],
  [
    'two defects of one id',
    { ...spec, defectTypes: [...spec.defectTypes, ...spec.defectTypes] },
    'spec.defect_types',
  ],
  [
    'nothing that follows',
    { ...spec, defectTypes: [{ id: 'x', name: 'x' }] },
    'spec.defect_types[0].dispositions',
  ],
  ['nothing said of sound pieces', { ...spec, sound: undefined }, 'spec.sound'],
  [
    'a section with a taken name',
    { ...spec, sections: [{ id: 'defects', title: 'x', maxLines: 1 }] },
    'spec.sections[0].id',
  ],
  ['an unknown language', { ...spec, language: 'fr' }, 'spec.language'],
  ['nothing asked', { language: 'en' }, 'spec'],
  ['a band from high to low', { ...spec, review: { uncertainFrom: 0.8, uncertainTo: 0.2 } }, 'spec'],
  ['a threshold above one', { ...spec, threshold: 1.5 }, 'spec.threshold'],
])('%s is refused by its field', async (_, wrong, field) => {
  if (!at) return;
  await expect(at.profiles.putProfile({ name: 'wrong', spec: wrong })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    fieldViolations: [{ field }],
  });
});
