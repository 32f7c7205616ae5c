import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adapterFiles, baseFiles, datasetFiles, writeFolder } from './fixtures.ts';
import { type Client, download, putAll, RegistryHarness, register, until, uploadOf } from './harness.ts';

const harness = await RegistryHarness.start();
afterAll(async () => harness?.[Symbol.asyncDispose]());

describe.skipIf(!harness)('the life of a model', () => {
  let client: Client;
  beforeAll(() => {
    client = harness!.client();
  });

  test('from a draft to a version that is ready, announced once and read back', async () => {
    const files = baseFiles();
    const { model } = await client.createModel({
      name: 'medical-base',
      kind: Kind.BASE,
      description: '基座',
      labels: { team: 'a' },
    });
    expect(model).toMatchObject({ name: 'medical-base', kind: Kind.BASE, latestVersion: '', aliases: {} });
    const { version: draft } = await client.createVersion({ name: 'medical-base' });
    expect(draft).toMatchObject({
      version: '1.0.0',
      state: VersionState.DRAFT,
      digest: '',
      ref: 'models:/medical-base/1.0.0',
    });
    const weights = files.get('model.safetensors')!;
    files.delete('model.safetensors');
    await putAll(client, 'medical-base', '1.0.0', files);
    const digest = `sha256:${createHash('sha256').update(weights).digest('hex')}`;
    const header = {
      name: 'medical-base',
      version: '1.0.0',
      path: 'model.safetensors',
      digest,
      sizeBytes: BigInt(weights.length),
    };
    const { file } = await client.uploadArtifact(uploadOf(header, weights, 100));
    expect(file).toMatchObject({ path: 'model.safetensors', digest, sizeBytes: BigInt(weights.length) });
    const { version } = await client.commitVersion({
      name: 'medical-base',
      version: '1.0.0',
      metrics: { bleu: 4.5 },
    });
    expect(version).toMatchObject({ state: VersionState.READY, metrics: { bleu: 4.5 } });
    expect(version!.manifest!.files.map(({ path }) => path)).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
    const canonical = JSON.stringify({
      files: version!.manifest!.files.map((f) => ({
        path: f.path,
        digest: f.digest,
        size_bytes: Number(f.sizeBytes),
      })),
    });
    expect(version!.digest).toBe(`sha256:${createHash('sha256').update(canonical).digest('hex')}`);
    expect((await client.getVersion({ name: 'medical-base' })).version).toEqual(version);
    expect((await client.getModel({ name: 'medical-base' })).model!.latestVersion).toBe('1.0.0');
    const whole = await download(client, {
      name: 'medical-base',
      version: '1.0.0',
      path: 'model.safetensors',
    });
    expect(whole.equals(weights)).toBe(true);
    const part = await download(client, {
      name: 'medical-base',
      version: '1.0.0',
      digest,
      offset: 5n,
      length: 7n,
    });
    expect(part.equals(weights.subarray(5, 12))).toBe(true);
    await until(() => harness!.ready('medical-base').length > 0, 'the event is there');
    expect(harness!.ready('medical-base')).toMatchObject([
      {
        payload: {
          tenant: 'acme',
          version: '1.0.0',
          ref: 'models:/medical-base/1.0.0',
          kind: 'base',
          digest: version!.digest,
          metrics: { bleu: 4.5 },
        },
      },
    ]);
  });

  test('adapters carry their lineage, which is a graph both ways', async () => {
    const base = await register(client, 'lineage-base', Kind.BASE, baseFiles(1));
    const data = await register(client, 'lineage-data', Kind.DATASET, datasetFiles());
    await client.createModel({ name: 'lineage-adapter', kind: Kind.ADAPTER });
    await client.createVersion({ name: 'lineage-adapter' });
    await putAll(client, 'lineage-adapter', '1.0.0', adapterFiles());
    const lineage = {
      base: base.ref,
      datasets: [{ ref: data.ref, role: 'train' }],
      jobId: 'job-1',
      method: 'lora',
    };
    const metrics = { bleu: 52, base_bleu: 3 };
    const { version } = await client.commitVersion({
      name: 'lineage-adapter',
      version: '1.0.0',
      lineage,
      metrics,
    });
    expect(version!.lineage!.datasets).toMatchObject([{ ref: data.ref, digest: data.digest, role: 'train' }]);
    const graph = await client.getLineage({ name: 'lineage-adapter', version: '1.0.0' });
    expect(graph.nodes.map(({ ref, type }) => `${type} ${ref}`).sort()).toEqual([
      'adapter models:/lineage-adapter/1.0.0',
      'base models:/lineage-base/1.0.0',
      'dataset models:/lineage-data/1.0.0',
      'job jobs:/job-1',
    ]);
    expect(graph.edges.map(({ from, to, relation }) => `${from} ${relation} ${to}`).sort()).toEqual([
      'jobs:/job-1 produced models:/lineage-adapter/1.0.0',
      'models:/lineage-base/1.0.0 base models:/lineage-adapter/1.0.0',
      'models:/lineage-data/1.0.0 train models:/lineage-adapter/1.0.0',
    ]);
    const forward = await client.getLineage({ name: 'lineage-data', version: '1.0.0' });
    expect(forward.nodes.map(({ ref }) => ref)).toContain('models:/lineage-adapter/1.0.0');
    expect(forward.nodes.find(({ type }) => type === 'adapter')!.metrics).toEqual(metrics);
    const { versions } = await client.listVersions({ base: base.ref });
    expect(versions.map(({ ref }) => ref)).toEqual(['models:/lineage-adapter/1.0.0']);

    // A version that was tuned on from another one.
    await client.createVersion({ name: 'lineage-adapter' });
    await putAll(client, 'lineage-adapter', '1.1.0', adapterFiles());
    const further = { base: base.ref, parent: 'models:/lineage-adapter/1.0.0', jobId: 'job-2' };
    const refused = { ...further, parent: 'models:/lineage-data/1.0.0' };
    const commit = { name: 'lineage-adapter', version: '1.1.0' };
    await expect(client.commitVersion({ ...commit, lineage: refused })).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
    });
    const child = (await client.commitVersion({ ...commit, lineage: further })).version!;
    expect(child.lineage!.parent).toBe('models:/lineage-adapter/1.0.0');
    for (const version of ['1.0.0', '1.1.0']) {
      const { edges } = await client.getLineage({ name: 'lineage-adapter', version });
      expect(edges).toContainEqual(
        expect.objectContaining({
          from: 'models:/lineage-adapter/1.0.0',
          to: 'models:/lineage-adapter/1.1.0',
          relation: 'parent',
        }),
      );
    }
  });

  test('imports a folder as one step', async () => {
    writeFolder(join(harness!.importRoot, 'tiny'), baseFiles(2));
    writeFolder(join(harness!.importRoot, 'tiny'), new Map([['.git/HEAD', Buffer.from('ref')]]));
    const { version } = await client.importModel({
      name: 'imported',
      folder: 'tiny',
      description: 'a folder',
    });
    expect(version).toMatchObject({
      ref: 'models:/imported/1.0.0',
      state: VersionState.READY,
      kind: Kind.BASE,
    });
    expect(version!.manifest!.files.map(({ path }) => path)).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
    expect((await client.importModel({ name: 'imported', folder: 'tiny' })).version!.version).toBe('1.1.0');
    await until(() => harness!.ready('imported').length === 2, 'both events are there');
    await expect(
      client.importModel({ name: 'imported', folder: 'tiny', version: '1.0.0' }),
    ).rejects.toMatchObject({
      code: status.ALREADY_EXISTS,
    });
  });
});
