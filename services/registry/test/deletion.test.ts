import { create, toJsonString } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { DeploymentChangedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adapterFiles, baseFiles, datasetFiles } from './fixtures.ts';
import {
  type Client,
  download,
  editor,
  type LifeClient,
  putAll,
  RegistryHarness,
  register,
  until,
} from './harness.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 2 ** 31);
const harness = await RegistryHarness.start({ LANDFALL_COLLECT_AFTER_MS: '200' });
afterAll(async () => harness?.[Symbol.asyncDispose]());

const refused = async (call: Promise<unknown>): Promise<LandfallError> => {
  const error = await call.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(LandfallError);
  return error as LandfallError;
};

describe.skipIf(!harness)(`deletion (seed ${seed})`, () => {
  let client: Client;
  let life: LifeClient;
  beforeAll(() => {
    client = harness!.client();
    life = harness!.life();
  });

  const adapter = async (name: string, base: string, dataset = ''): Promise<void> => {
    await client.createModel({ name, kind: Kind.ADAPTER }).catch(() => {});
    const { version } = await client.createVersion({ name });
    await putAll(client, name, version!.version, adapterFiles());
    const datasets = dataset === '' ? [] : [{ ref: dataset, role: 'train' }];
    await client.commitVersion({ name, version: version!.version, lineage: { base, datasets } });
  };

  test('is refused while an alias, a version or a deployment uses it, and says which', async () => {
    await register(client, 'root', Kind.BASE, baseFiles());
    await register(client, 'rows', Kind.DATASET, datasetFiles());
    await client.setAlias({ name: 'root', version: '1.0.0', alias: 'production' });
    await adapter('leaf', 'models:/root@production', 'models:/rows/1.0.0');
    const event = create(DeploymentChangedSchema, {
      tenant: 'acme',
      name: 'answers',
      state: 'ready',
      model: 'models:/leaf/1.0.0',
      revision: 5n,
    });
    const subject = 'landfall.balancer.deployment.changed.v1';
    await harness!.publish(subject, toJsonString(DeploymentChangedSchema, event));
    const leaf = { name: 'leaf', version: '1.0.0' };
    await until(async () => {
      const { nodes } = await client.getLineage(leaf);
      return nodes.some(({ ref }) => ref === 'deployments:/answers');
    }, 'the deployment is known');
    const root = { name: 'root', version: '1.0.0' };
    const error = await refused(life.deleteVersion(root));
    expect(error).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'VERSION_IN_USE' });
    expect(error.fieldViolations.map(({ field }) => field)).toEqual([
      'models:/root@production',
      'models:/leaf/1.0.0',
    ]);
    expect((await refused(life.deleteVersion(leaf))).message).toContain(
      'deployments:/answers (runs it, ready)',
    );
    expect((await refused(life.deleteVersion({ name: 'rows', version: '1.0.0' }))).message).toContain('leaf');

    // An older event, late, does not make it a running one again.
    const stopped = { ...event, state: 'stopped', revision: 7n };
    await harness!.publish(subject, toJsonString(DeploymentChangedSchema, stopped));
    const late = { ...event, revision: 6n };
    await harness!.publish(subject, toJsonString(DeploymentChangedSchema, late));
    const sentinel = { ...event, name: 'sentinel', model: 'models:/root/1.0.0', revision: 1n };
    await harness!.publish(subject, toJsonString(DeploymentChangedSchema, sentinel));
    await until(async () => {
      const { nodes } = await client.getLineage(root);
      return nodes.some(({ ref }) => ref === 'deployments:/sentinel');
    }, 'the events behind it are taken');
    await life.deleteVersion(leaf);
    await life.deleteVersion({ name: 'rows', version: '1.0.0' });
    await life.removeAlias({ name: 'root', alias: 'production' });
    expect((await refused(life.deleteVersion(root))).fieldViolations).toMatchObject([
      { field: 'deployments:/sentinel' },
    ]);
  });

  test('hides a version, keeps its number and content, and is taken back in the order of the lineage', async () => {
    const base = await register(client, 'soft', Kind.BASE, baseFiles(3));
    await adapter('soft-leaf', base.ref);
    const leaf = { name: 'soft-leaf', version: '1.0.0' };
    const root = { name: 'soft', version: '1.0.0' };
    const { version } = await life.deleteVersion({ ...leaf, reason: 'wrong rows' });
    expect(version).toMatchObject({ state: VersionState.DELETED });
    expect(version!.purgeTime).toBeDefined();
    // Again is no change, and tells the same.
    expect((await life.deleteVersion(leaf)).version).toEqual(version);
    expect(await refused(client.getVersion(leaf))).toMatchObject({
      code: status.NOT_FOUND,
      reason: 'VERSION_DELETED',
      message: expect.stringContaining('RestoreVersion'),
    });
    expect((await client.getVersion({ ...leaf, showDeleted: true })).version).toEqual(version);
    expect((await client.listVersions({ name: 'soft-leaf' })).versions).toEqual([]);
    expect((await client.listVersions({ name: 'soft-leaf', showDeleted: true })).versions).toHaveLength(1);
    const onlyDeleted = await client.listVersions({ state: VersionState.DELETED, name: 'soft' });
    expect(onlyDeleted.versions).toEqual([]);
    expect((await client.getModel({ name: 'soft-leaf' })).model!.latestVersion).toBe('');
    await refused(download(client, { ...leaf, path: 'adapter_config.json' }));
    expect(await refused(client.setAlias({ ...leaf, alias: 'x' }))).toMatchObject({ code: status.NOT_FOUND });
    expect(await refused(client.createVersion(leaf))).toMatchObject({ code: status.ALREADY_EXISTS });
    expect((await client.createVersion({ name: 'soft-leaf' })).version!.version).toBe('1.1.0');
    // Nobody builds on what is deleted, and what is deleted is not restored without its origins.
    await life.deleteVersion(root);
    expect(await refused(adapter('soft-late', base.ref))).toMatchObject({ reason: 'LINEAGE_UNKNOWN' });
    expect(await refused(life.restoreVersion(leaf))).toMatchObject({
      reason: 'ORIGINS_DELETED',
      message: expect.stringContaining('models:/soft/1.0.0'),
    });
    await life.restoreVersion(root);
    await life.restoreVersion({ ...leaf, reason: 'rows are right' });
    expect((await download(client, { ...leaf, path: 'adapter_config.json' })).length).toBeGreaterThan(0);
    const { entries } = await life.listHistory({ name: 'soft-leaf', version: '1.0.0' });
    expect(entries.map(({ change, detail }) => [change, detail])).toEqual([
      ['restored', 'rows are right'],
      ['deleted', 'wrong rows'],
      ['ready', ''],
      ['created', ''],
    ]);
  });

  test('after its time the content goes, shared content stays, and the number is never used again', async () => {
    await harness!.stopService();
    harness!.env.LANDFALL_KEEP_DELETED_MS = '0';
    await harness!.startService();
    client = harness!.client();
    life = harness!.life();
    const first = await register(client, 'purged', Kind.BASE, baseFiles(100));
    const second = await register(client, 'purged', Kind.BASE, baseFiles(101));
    const gone = { name: 'purged', version: '1.0.0' };
    await life.deleteVersion(gone);
    const purged = () =>
      harness!.events.some(
        ({ subject, payload }) =>
          subject === 'landfall.registry.version.purged.v1' && payload.name === 'purged',
      );
    await until(purged, 'the purge was announced');
    expect(await refused(life.restoreVersion(gone))).toMatchObject({ reason: 'VERSION_PURGED' });
    expect(await refused(client.createVersion(gone))).toMatchObject({ code: status.ALREADY_EXISTS });
    expect((await client.listVersions({ name: 'purged', showDeleted: true })).versions).toHaveLength(1);
    const weights = first.manifest!.files.find(({ path }) => path === 'model.safetensors')!;
    const { existsSync } = await import('node:fs');
    const blob = (digest: string) => `${harness!.artifacts}/sha256/${digest.slice(7, 9)}/${digest.slice(9)}`;
    await until(() => !existsSync(blob(weights.digest)), 'its own weights are collected');
    for (const { path, digest } of second.manifest!.files) expect(existsSync(blob(digest)), path).toBe(true);
    expect(
      (await download(client, { name: 'purged', version: '1.1.0', path: 'config.json' })).length,
    ).toBeGreaterThan(0);
  });

  test('whatever comes at once, lineage stays whole and the revisions of a model are one row without gaps', async () => {
    await harness!.stopService();
    delete harness!.env.LANDFALL_KEEP_DELETED_MS;
    await harness!.startService();
    let round = 0;
    const step = fc.constantFrom(
      'delete-base',
      'restore-base',
      'adapt',
      'delete-leaf',
      'restore-leaf',
      'alias',
      'unalias',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 12 }), async (steps) => {
        const tenant = `race${round++}`;
        const own = harness!.client(editor(tenant));
        const ownLife = harness!.life(editor(tenant));
        const base = await register(own, 'base', Kind.BASE, baseFiles());
        await own.createModel({ name: 'leaf', kind: Kind.ADAPTER });
        for (const version of ['1.0.0', '2.0.0', '3.0.0']) {
          await own.createVersion({ name: 'leaf', version });
          await putAll(own, 'leaf', version, adapterFiles());
        }
        const root = { name: 'base', version: '1.0.0' };
        const leaf = { name: 'leaf', version: '1.0.0' };
        let next = 0;
        const calls = steps.map((one): Promise<unknown> => {
          if (one === 'delete-base') return ownLife.deleteVersion(root);
          if (one === 'restore-base') return ownLife.restoreVersion(root);
          if (one === 'delete-leaf') return ownLife.deleteVersion(leaf);
          if (one === 'restore-leaf') return ownLife.restoreVersion(leaf);
          if (one === 'alias') return own.setAlias({ ...root, alias: 'live' });
          if (one === 'unalias') return ownLife.removeAlias({ name: 'base', alias: 'live' });
          const version = `${(next++ % 3) + 1}.0.0`;
          return own.commitVersion({ name: 'leaf', version, lineage: { base: base.ref } });
        });
        for (const result of await Promise.allSettled(calls)) {
          // Refusals are fine; a fault is not.
          if (result.status === 'rejected') {
            expect([status.FAILED_PRECONDITION, status.NOT_FOUND, status.ABORTED]).toContain(
              (result.reason as LandfallError).code,
            );
          }
        }
        const bases = await own.listVersions({ name: 'base', showDeleted: true });
        const leaves = await own.listVersions({ name: 'leaf' });
        const used = leaves.versions.some(({ lineage }) => lineage?.base === base.ref);
        const { model } = await own.getModel({ name: 'base' });
        const deleted = bases.versions[0]!.state === VersionState.DELETED;
        expect(deleted && (used || model!.aliases.live !== undefined)).toBe(false);
        for (const name of ['base', 'leaf']) {
          const { entries } = await ownLife.listHistory({ name, pageSize: 500 });
          const revisions = entries.map(({ revision }) => Number(revision)).reverse();
          expect(revisions).toEqual(revisions.map((_, index) => index + 1));
          const told = () =>
            harness!.events
              .filter(({ payload }) => payload.tenant === tenant && payload.name === name)
              .map(({ payload }) => Number(payload.modelRevision));
          await until(() => told().length >= revisions.length, 'all changes are announced');
          expect(told()).toEqual(revisions);
        }
      }),
      { seed, numRuns: 12 },
    );
  });
});
