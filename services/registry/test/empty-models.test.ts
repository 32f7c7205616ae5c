/** What an upload leaves that broke off: a model with drafts alone. It says when it goes, and goes whole. */

import { existsSync } from 'node:fs';
import { create, toJsonString } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { DeploymentChangedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { afterAll, expect, test } from 'vitest';
import { datasetFiles } from './fixtures.ts';
import { type Client, putAll, RegistryHarness, register, until } from './harness.ts';

const DAYS_7_MS = 7 * 86_400_000;
const harness = await RegistryHarness.start({ LANDFALL_COLLECT_AFTER_MS: '100' });
afterAll(async () => harness?.[Symbol.asyncDispose]());

/** The registry again, with another patience for what is empty. */
async function restart(keepEmptyMs: number): Promise<Client> {
  await harness!.stopService();
  harness!.env.LANDFALL_KEEP_EMPTY_MS = String(keepEmptyMs);
  await harness!.startService();
  return harness!.client();
}

/** An upload that breaks off before its version is READY. */
async function broken(client: Client, name: string) {
  await client.createModel({ name, kind: Kind.DATASET });
  const { version } = await client.createVersion({ name });
  await putAll(client, name, version!.version, datasetFiles());
  return (await client.getVersion({ name, version: version!.version })).version!;
}

const isThere = (client: Client, name: string): Promise<boolean> =>
  client.getModel({ name }).then(
    () => true,
    ({ code }) => {
      expect(code).toBe(status.NOT_FOUND);
      return false;
    },
  );

test.skipIf(!harness)(
  'a model of which no version became ready says when it goes, goes, and its name is free',
  async () => {
    let client = harness!.client();
    const draft = await broken(client, 'broken');
    const { model } = await client.getModel({ name: 'broken' });
    expect(model!.latestVersion).toBe('');
    expect(timestampMs(model!.removeTime!)).toBe(timestampMs(draft.createTime!) + DAYS_7_MS);

    // What has been READY once stays, with what is begun beside it; so does what somebody has only named.
    await register(client, 'sound', Kind.DATASET, datasetFiles());
    await client.createVersion({ name: 'sound' });
    await client.createModel({ name: 'named', kind: Kind.DATASET });
    await register(client, 'deleted', Kind.DATASET, datasetFiles());
    await harness!.life().deleteVersion({ name: 'deleted', version: '1.0.0' });
    // A draft that is being tried on replicas is in use.
    await broken(client, 'deployed');
    const event = create(DeploymentChangedSchema, {
      ...{ tenant: 'acme', name: 'trial', state: 'ready', model: 'models:/deployed/1.0.0', revision: 1n },
    });
    const subject = 'landfall.balancer.deployment.changed.v1';
    await harness!.publish(subject, toJsonString(DeploymentChangedSchema, event));
    await until(async () => {
      const { nodes } = await client.getLineage({ name: 'deployed', version: '1.0.0' });
      return nodes.some(({ ref }) => ref === 'deployments:/trial');
    }, 'the deployment is known');
    const stay = ['sound', 'named', 'deleted', 'deployed'];
    const { models } = await client.listModels({});
    const going = models.filter(({ removeTime }) => removeTime).map(({ name }) => name);
    expect(going.sort()).toEqual(['broken', 'deployed']);

    client = await restart(100);
    await until(async () => !(await isThere(client, 'broken')), 'the empty model is gone');
    await expect(client.getVersion({ name: 'broken', version: '1.0.0' })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
    const purged = () =>
      harness!.events.find(
        ({ subject: said, payload }) =>
          said === 'landfall.registry.version.purged.v1' && payload.name === 'broken',
      );
    await until(() => purged() !== undefined, 'it is announced');
    for (const name of stay) expect([name, await isThere(client, name)]).toEqual([name, true]);

    // The name is free, and whoever follows its events sees their revisions go on.
    client = await restart(DAYS_7_MS);
    const again = await register(client, 'broken', Kind.DATASET, datasetFiles());
    expect(again.version).toBe('1.0.0');
    const { model: whole } = await client.getModel({ name: 'broken' });
    expect(whole!.removeTime).toBeUndefined();
    expect(Number(whole!.revision)).toBeGreaterThan(Number(purged()!.payload.modelRevision));
    client = await restart(100);
    const { entries } = await harness!.life().listHistory({ name: 'broken' });
    expect(entries.map(({ change }) => change)).toEqual(['ready', 'created']);
    expect(await isThere(client, 'broken')).toBe(true);
  },
  60_000,
);

test.skipIf(!harness)(
  'its content goes too, unless another version holds it',
  async () => {
    let client = await restart(DAYS_7_MS);
    await client.createModel({ name: 'alone', kind: Kind.DATASET });
    const { version } = await client.createVersion({ name: 'alone' });
    const shared = await register(client, 'kept', Kind.DATASET, datasetFiles());
    await putAll(client, 'alone', version!.version, datasetFiles());
    const content = Buffer.from('{"question":"只在这里","answer":"是"}\n');
    const { file } = await client.putArtifact({
      ...{ header: { name: 'alone', version: version!.version, path: 'own.jsonl' }, content },
    });
    const blob = (digest: string) => `${harness!.artifacts}/sha256/${digest.slice(7, 9)}/${digest.slice(9)}`;
    expect(existsSync(blob(file!.digest))).toBe(true);
    client = await restart(100);
    await until(async () => !(await isThere(client, 'alone')), 'the empty model is gone');
    await until(() => !existsSync(blob(file!.digest)), 'its content is collected');
    for (const { path, digest } of shared.manifest!.files)
      expect([path, existsSync(blob(digest))]).toEqual([path, true]);
  },
  60_000,
);
