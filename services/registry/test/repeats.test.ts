import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { baseFiles, datasetFiles, writeFolder } from './fixtures.ts';
import {
  type Client,
  download,
  editor,
  putAll,
  RegistryHarness,
  register,
  until,
  uploadOf,
} from './harness.ts';

const harness = await RegistryHarness.start();
afterAll(async () => harness?.[Symbol.asyncDispose]());

const times = <R>(count: number, call: (index: number) => Promise<R>) =>
  Promise.allSettled(Array.from({ length: count }, (_, index) => call(index)));
const values = <R>(results: PromiseSettledResult<R>[]) =>
  results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
const codes = (results: PromiseSettledResult<unknown>[]) =>
  results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code as status] : []));

describe.skipIf(!harness)('repeated and concurrent calls', () => {
  let client: Client;
  beforeAll(() => {
    client = harness!.client();
  });

  test('every mutation answers a repeat as it answered first, and refuses its token with other content', async () => {
    const id = () => randomUUID();
    const repeated = async <R>(call: () => Promise<R>) => {
      const first = await call();
      expect(await call()).toEqual(first);
      return first;
    };
    const reused = { code: status.INVALID_ARGUMENT, reason: 'REQUEST_ID_REUSED' };
    const [a, b, c, d, e, f, g] = [id(), id(), id(), id(), id(), id(), id()];
    const name = 'repeats';
    const labels = { a: '1', b: '2', c: '3' };
    await repeated(() => client.createModel({ requestId: a, name, kind: Kind.BASE, labels }));
    await repeated(() =>
      client.createModel({ requestId: a, name, kind: Kind.BASE, labels: { c: '3', b: '2', a: '1' } }),
    );
    await expect(client.createModel({ requestId: a, name, kind: Kind.DATASET })).rejects.toMatchObject(
      reused,
    );
    await expect(client.createModel({ name, kind: Kind.BASE })).rejects.toMatchObject({
      code: status.ALREADY_EXISTS,
    });

    const { version } = await repeated(() => client.createVersion({ requestId: b, name }));
    expect(version!.version).toBe('1.0.0');
    expect((await client.listVersions({ name })).versions.length).toBe(1);
    await expect(client.createVersion({ requestId: b, name, description: 'x' })).rejects.toMatchObject(
      reused,
    );

    const files = baseFiles(3);
    const weights = files.get('model.safetensors')!;
    const config = files.get('config.json')!;
    await putAll(client, name, '1.0.0', files);
    const header = { name, version: '1.0.0', path: 'config.json', requestId: c };
    await repeated(() => client.putArtifact({ header, content: config }));
    await expect(client.putArtifact({ header, content: Buffer.from('{}') })).rejects.toMatchObject(reused);
    const digest = `sha256:${createHash('sha256').update(weights).digest('hex')}`;
    const upload = { name, version: '1.0.0', path: 'model.safetensors', requestId: d, digest };
    await repeated(() => client.uploadArtifact(uploadOf(upload, weights)));

    const commit = { requestId: e, name, version: '1.0.0', metrics: { bleu: 1, rouge: 2 } };
    const ready = await repeated(() => client.commitVersion(commit));
    await expect(client.commitVersion({ ...commit, metrics: { bleu: 2 } })).rejects.toMatchObject(reused);
    // Without a token, what is READY already is answered, and what would change it is refused.
    expect(await client.commitVersion({ name, version: '1.0.0' })).toEqual(ready);
    expect(await client.commitVersion({ name, version: '1.0.0', metrics: { rouge: 2, bleu: 1 } })).toEqual(
      ready,
    );
    for (const change of [
      { metrics: { bleu: 9 } },
      { lineage: { jobId: 'x' } },
      { manifest: { files: [] } },
    ]) {
      await expect(client.commitVersion({ name, version: '1.0.0', ...change })).rejects.toMatchObject({
        code: status.FAILED_PRECONDITION,
      });
    }
    // A client that did not hear of its success repeats its uploads.
    await repeated(() => client.putArtifact({ header, content: config }));
    await repeated(() => client.uploadArtifact(uploadOf(upload, weights)));
    const other = { header: { ...header, requestId: '' }, content: Buffer.from('{}') };
    await expect(client.putArtifact(other)).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
    expect((await client.getVersion({ name, version: '1.0.0' })).version).toEqual(ready.version);

    await repeated(() => client.setAlias({ requestId: f, name, alias: 'production', version: '1.0.0' }));
    writeFolder(join(harness!.importRoot, 'again'), baseFiles(4));
    await repeated(() => client.importModel({ requestId: g, name: 'imported-again', folder: 'again' }));
    await expect(
      client.importModel({ requestId: g, name: 'imported-again', folder: 'again', description: 'x' }),
    ).rejects.toMatchObject(reused);
    expect((await client.listVersions({ name: 'imported-again' })).versions.length).toBe(1);
    await until(() => harness!.ready('imported-again').length > 0, 'the event is there');
    expect(harness!.ready(name).length).toBe(1);
    expect(harness!.events.filter(({ payload }) => payload.alias === 'production').length).toBe(1);
  });

  test('of many equal calls at once one acts', async () => {
    const name = 'at-once';
    const created = await times(8, () => client.createModel({ name, kind: Kind.DATASET }));
    expect(values(created).length).toBe(1);
    expect(codes(created)).toEqual(Array(7).fill(status.ALREADY_EXISTS));
    const requestId = randomUUID();
    const same = values(await times(8, () => client.createVersion({ requestId, name })));
    expect(same.length).toBe(8);
    expect(new Set(same.map(({ version }) => version!.id)).size).toBe(1);
    const drafts = values(await times(6, () => client.createVersion({ name })));
    expect(drafts.map(({ version }) => version!.version).sort()).toEqual([
      '1.1.0',
      '1.2.0',
      '1.3.0',
      '1.4.0',
      '1.5.0',
      '1.6.0',
    ]);
    await putAll(client, name, '1.0.0', datasetFiles());
    const commits = await times(8, (index) =>
      client.commitVersion({ name, version: '1.0.0', requestId: index % 2 ? randomUUID() : '' }),
    );
    expect(values(commits).length).toBe(8);
    expect(new Set(values(commits).map(({ version }) => version!.readyTime!.nanos)).size).toBe(1);
    await until(() => harness!.ready(name).length > 0, 'the event is there');
    expect(harness!.ready(name).length).toBe(1);
  });

  test('an upload while a draft is committed is in the version or refused, never half', async () => {
    const name = 'upload-race';
    await client.createModel({ name, kind: Kind.DATASET });
    for (let round = 0; round < 10; round++) {
      const { version } = await client.createVersion({ name });
      const target = version!.version;
      await putAll(client, name, target, datasetFiles());
      const late = {
        header: { name, version: target, path: 'late.json' },
        content: Buffer.from('[{"late":1}]'),
      };
      const [put, commit] = await Promise.allSettled([
        client.putArtifact(late),
        client.commitVersion({ name, version: target }),
      ]);
      const after = (await client.getVersion({ name, version: target })).version!;
      const paths = after.manifest!.files.map(({ path }) => path);
      expect(paths.includes('late.json')).toBe(put.status === 'fulfilled');
      if (commit.status === 'fulfilled') {
        expect(commit.value.version!.manifest).toEqual(after.manifest);
        expect(after.state).toBe(VersionState.READY);
      } else {
        expect(commit.reason.code).toBe(status.ABORTED);
        expect(after.state).toBe(VersionState.DRAFT);
      }
    }
  });

  test('an alias moves by compare and set, and each move is told once with the next revision', async () => {
    const name = 'aliases';
    for (let index = 0; index < 4; index++) await register(client, name, Kind.DATASET, datasetFiles());
    const alias = 'production';
    await client.setAlias({ name, alias, version: '1.0.0' });
    expect((await client.getVersion({ name, version: '@production' })).version!.version).toBe('1.0.0');
    const moves = await times(6, (index) =>
      client.setAlias({ name, alias, version: `1.${(index % 3) + 1}.0`, expectedVersion: '1.0.0' }),
    );
    const won = values(moves);
    // The winner's own move may be asked for twice: then the second finds the alias elsewhere than it expects.
    expect(won.length).toBe(1);
    expect(new Set(codes(moves))).toEqual(new Set([status.ABORTED]));
    const { model } = await client.getModel({ name });
    expect(model!.aliases).toEqual(won[0]!.model!.aliases);
    await times(9, (index) => client.setAlias({ name, alias, version: `1.${index % 4}.0` }));
    const { model: last } = await client.getModel({ name });
    const moved = () =>
      harness!.events.filter(
        ({ subject, payload }) => subject.includes('alias.moved') && payload.name === name,
      );
    await until(() => moved().at(-1)?.payload.toVersion === last!.aliases[alias], 'the last move is told');
    const told = moved().map(({ payload }) => payload);
    expect(told.map(({ revision }) => Number(revision))).toEqual(told.map((_, index) => index + 1));
    for (const [index, { fromVersion, toVersion }] of told.entries()) {
      expect(fromVersion).toBe(index === 0 ? '' : told[index - 1]!.toVersion);
      expect(toVersion).not.toBe(fromVersion);
    }
    expect(new Set(moved().map(({ id }) => id)).size).toBe(told.length);
  });

  test('aliases point at READY versions alone', async () => {
    const name = 'alias-of-draft';
    await client.createModel({ name, kind: Kind.DATASET });
    await client.createVersion({ name });
    const move = (version: string) => client.setAlias({ name, alias: 'production', version });
    await expect(move('1.0.0')).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
    await expect(move('2.0.0')).rejects.toMatchObject({ code: status.NOT_FOUND });
    await expect(client.getVersion({ name, version: '@production' })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
    await expect(client.getVersion({ name })).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  test('a manifest that is given must be what was uploaded', async () => {
    const name = 'manifest';
    await client.createModel({ name, kind: Kind.DATASET });
    await client.createVersion({ name });
    await expect(client.commitVersion({ name, version: '1.0.0' })).rejects.toMatchObject({
      reason: 'DRAFT_IS_EMPTY',
    });
    await putAll(client, name, '1.0.0', datasetFiles());
    const { version } = await client.getVersion({ name, version: '1.0.0' });
    const files = version!.manifest!.files;
    const more = { ...files[0]!, path: 'other.json' };
    for (const manifest of [{ files: [] }, { files: [...files, more] }, { files: [more] }]) {
      await expect(client.commitVersion({ name, version: '1.0.0', manifest })).rejects.toMatchObject({
        code: status.FAILED_PRECONDITION,
        reason: 'MANIFEST_MISMATCH',
      });
    }
    await client.commitVersion({ name, version: '1.0.0', manifest: { files } });
  });

  test("another tenant's names are not found, and may be used again", async () => {
    const name = 'private';
    await register(client, name, Kind.DATASET, datasetFiles());
    const other = harness!.client(editor('other'));
    const path = 'train.json';
    const missing = { code: status.NOT_FOUND };
    await expect(other.getModel({ name })).rejects.toMatchObject(missing);
    await expect(other.getVersion({ name, version: '1.0.0' })).rejects.toMatchObject(missing);
    await expect(other.createVersion({ name })).rejects.toMatchObject(missing);
    await expect(other.commitVersion({ name, version: '1.0.0' })).rejects.toMatchObject(missing);
    await expect(other.setAlias({ name, alias: 'production', version: '1.0.0' })).rejects.toMatchObject(
      missing,
    );
    await expect(other.getLineage({ name, version: '1.0.0' })).rejects.toMatchObject(missing);
    await expect(other.listVersions({ name })).rejects.toMatchObject(missing);
    await expect(download(other, { name, version: '1.0.0', path })).rejects.toMatchObject(missing);
    const header = { name, version: '1.0.0', path };
    await expect(other.putArtifact({ header, content: Buffer.from('[]') })).rejects.toMatchObject(missing);
    expect((await other.listModels({})).models).toEqual([]);
    expect((await other.listVersions({})).versions).toEqual([]);
    const own = await register(other, name, Kind.DATASET, new Map([['x.json', Buffer.from('[{"x":1}]')]]));
    await expect(download(other, { name, version: '1.0.0', path })).rejects.toMatchObject(missing);
    // A base of another tenant is no base.
    await register(client, 'private-base', Kind.BASE, baseFiles());
    await other.createModel({ name: 'adapter', kind: Kind.ADAPTER });
    await other.createVersion({ name: 'adapter' });
    await until(() => harness!.ready(name).length === 2, 'both events are there');
    expect(
      harness!
        .ready(name)
        .map(({ payload }) => payload.tenant)
        .sort(),
    ).toEqual(['acme', 'other']);
    expect(own.ref).toBe('models:/private/1.0.0');
  });

  test('a viewer reads and may not write', async () => {
    const viewer = harness!.client({ ...editor(), role: Role.VIEWER });
    await register(client, 'seen', Kind.DATASET, datasetFiles());
    await viewer.getVersion({ name: 'seen', version: '1.0.0' });
    await download(viewer, { name: 'seen', version: '1.0.0', path: 'train.json' });
    const denied = { code: status.PERMISSION_DENIED };
    const header = { name: 'seen', version: '1.0.0', path: 'x' };
    await expect(viewer.createModel({ name: 'x', kind: Kind.BASE })).rejects.toMatchObject(denied);
    await expect(viewer.createVersion({ name: 'seen' })).rejects.toMatchObject(denied);
    await expect(viewer.putArtifact({ header, content: Buffer.from('x') })).rejects.toMatchObject(denied);
    await expect(viewer.uploadArtifact(uploadOf(header, Buffer.from('x')))).rejects.toMatchObject(denied);
    await expect(viewer.commitVersion({ name: 'seen', version: '1.0.0' })).rejects.toMatchObject(denied);
    await expect(viewer.setAlias({ name: 'seen', alias: 'a', version: '1.0.0' })).rejects.toMatchObject(
      denied,
    );
    await expect(viewer.importModel({ name: 'x', folder: 'x' })).rejects.toMatchObject(denied);
  });
});
