import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { WatchImportModelResponse_Step as Step } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { adapterFiles, baseFiles, type Files, onnx } from './fixtures.ts';
import { type Client, download, RegistryHarness } from './harness.ts';
import { HubServer } from './hub-server.ts';

const hub = await HubServer.start();
const harness = await RegistryHarness.start({
  HF_ENDPOINT: hub.endpoint,
  HF_TOKEN: 'hub-token',
  LANDFALL_HUB_HOSTS: hub.storageHost,
  LANDFALL_UPLOAD_IDLE_MS: '2000',
});
afterAll(async () => {
  await harness?.[Symbol.asyncDispose]();
  await hub[Symbol.asyncDispose]();
});

const noise = (bytes: number): Buffer => Buffer.alloc(bytes, 'random enough ');

/** A repository as people publish them: weights twice, a card, and what is not for the mesh. */
const repository = (mark = 0): Files =>
  new Map([
    ...baseFiles(mark),
    ['README.md', Buffer.from('---\nlicense: mit\ntags: [tiny]\n---\n# Tiny\n')],
    ['.gitattributes', Buffer.from('*.safetensors filter=lfs')],
    ['pytorch_model.bin', Buffer.from('PK')],
    ['tf_model.h5', noise(10)],
    ['original/consolidated.safetensors', noise(100)],
    ['LICENSE', Buffer.from('MIT')],
  ]);

describe.skipIf(!harness)('imports from a hub', () => {
  let client: Client;
  const staging = () => join(harness!.folder, 'registry', 'hub');
  const leftovers = () => (existsSync(staging()) ? readdirSync(staging()) : []);
  beforeAll(() => {
    client = harness!.client();
  });
  beforeEach(() => {
    hub.seen.splice(0);
    hub.breaks.splice(0);
    hub.busyContent.splice(0);
    hub.swapped.clear();
    hub.redirect = undefined;
    hub.ignoresRanges = false;
  });

  test('takes what the mesh can use at the commit that a branch means, and says where it came from', async () => {
    const files = repository();
    const commit = hub.add('tiny/llama', files);
    const { version, skipped } = await client.importModel({ name: 'hub-one', hubId: 'tiny/llama' });
    expect(version!.manifest!.files.map(({ path }) => path)).toEqual([
      'LICENSE',
      'README.md',
      'config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
    expect([...skipped].sort()).toEqual([
      'original/consolidated.safetensors',
      'pytorch_model.bin',
      'tf_model.h5',
    ]);
    expect(version).toMatchObject({ license: 'mit', lineage: { source: `hf://tiny/llama@${commit}` } });
    const bytes = await download(client, { name: 'hub-one', version: '1.0.0', path: 'model.safetensors' });
    expect(bytes.equals(files.get('model.safetensors')!)).toBe(true);
    const { nodes } = await client.getLineage({ name: 'hub-one', version: '1.0.0' });
    expect(nodes.map(({ type }) => type)).toEqual(['base', 'source']);
    expect(leftovers()).toEqual([]);
    // The token is for the hub, and not for where the hub sends one to.
    for (const { path, token } of hub.seen) {
      expect(token, path).toBe(path.startsWith('/storage') ? undefined : 'Bearer hub-token');
    }
  });

  test('goes on behind the last byte, within a call and in a later one', async () => {
    const files = repository(5);
    hub.add('tiny/broken', files);
    const size = files.get('model.safetensors')!.length;
    hub.breaks.push(1000, 500);
    await client.importModel({ name: 'hub-two', hubId: 'tiny/broken' });
    const ranges = hub.ranges('model.safetensors');
    expect(ranges).toHaveLength(3);
    expect(ranges[0]).toBeUndefined();
    const starts = ranges.slice(1).map((range) => Number(/\d+/.exec(range!)![0]));
    expect(starts[0]).toBeLessThanOrEqual(1000);
    expect(starts[1]).toBeGreaterThanOrEqual(starts[0]!);
    expect(starts[1]).toBeLessThan(size);

    hub.add('tiny/later', repository(6));
    hub.breaks.push(1000, ...Array.from({ length: 100 }, () => 0));
    await expect(client.importModel({ name: 'hub-three', hubId: 'tiny/later' })).rejects.toMatchObject({
      code: status.UNAVAILABLE,
      message: expect.stringContaining('import again to go on'),
    });
    await expect(client.getModel({ name: 'hub-three' })).rejects.toMatchObject({ code: status.NOT_FOUND });
    expect(leftovers()).toHaveLength(1);
    hub.breaks.splice(0);
    hub.seen.splice(0);
    await harness!.stopService();
    await harness!.startService();
    client = harness!.client();
    await client.importModel({ name: 'hub-three', hubId: 'tiny/later' });
    expect(hub.ranges('model.safetensors')).toEqual([expect.stringMatching(/^bytes=[1-9]\d*-$/)]);
    expect(leftovers()).toEqual([]);
  });

  test('begins anew where the hub knows no ranges, and waits where it is busy', async () => {
    hub.add('tiny/whole', repository(7));
    hub.ignoresRanges = true;
    hub.breaks.push(1000);
    await client.importModel({ name: 'hub-whole', hubId: 'tiny/whole' });
    expect(hub.ranges('model.safetensors').filter((range) => range !== undefined)).not.toEqual([]);

    hub.ignoresRanges = false;
    hub.add('tiny/busy', repository(8));
    hub.busyContent.push(503, 429);
    await client.importModel({ name: 'hub-busy', hubId: 'tiny/busy' });
    expect(hub.busyContent).toEqual([]);
  });

  test.each(['model.safetensors', 'config.json'])(
    'content of %s that is not what the hub describes is DATA_LOSS',
    async (path) => {
      const files = repository(10);
      const id = `tiny/flipped-${path.replace('.', '-')}`;
      hub.add(id, files);
      const flipped = Buffer.from(files.get(path)!);
      flipped[flipped.length - 2]! ^= 1;
      hub.swapped.set(path, flipped);
      await expect(client.importModel({ name: 'hub-flipped', hubId: id })).rejects.toMatchObject({
        code: status.DATA_LOSS,
      });
      hub.swapped.clear();
      await client.importModel({ name: 'hub-flipped', hubId: id });
    },
  );

  test.each([
    'http://10.0.0.1/x',
    'http://169.254.169.254/latest/meta-data',
    'http://[::1]/x',
    'http://[::ffff:127.0.0.1]/x',
    'http://0x7f.1/x',
    'http://localhost:1/x',
    'file:///etc/passwd',
    'http://user:secret@example.org/x',
  ])('a redirect to %s is refused before anything is sent there', async (location) => {
    hub.add('tiny/lured', repository(11));
    hub.redirect = () => location;
    const error = await client
      .importModel({ name: 'hub-lured', hubId: 'tiny/lured' })
      .catch((e: unknown) => e);
    expect(error).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'REDIRECT_REFUSED' });
    expect((error as Error).message).not.toContain('secret');
  });

  test('what is refused says why', async () => {
    hub.add(
      'tiny/gguf',
      new Map([
        ['model-q4.gguf', noise(8)],
        ['README.md', noise(8)],
      ]),
    );
    await expect(client.importModel({ name: 'x', hubId: 'tiny/gguf' })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: expect.stringContaining("'model-q4.gguf' is a GGUF file"),
    });
    hub.add(
      'tiny/pickle',
      new Map([
        ['pytorch_model.bin', noise(8)],
        ['config.json', Buffer.from('{}')],
      ]),
    );
    await expect(client.importModel({ name: 'x', hubId: 'tiny/pickle' })).rejects.toThrow('pickle');
    hub.add('tiny/climb', new Map([...baseFiles(), ['a/../../x.json', noise(8)]]));
    await expect(client.importModel({ name: 'x', hubId: 'tiny/climb' })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(client.importModel({ name: 'x', hubId: 'tiny/none' })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
    await expect(client.importModel({ name: 'x', hubId: 'tiny/llama', revision: 'v9' })).rejects.toThrow(
      "'v9'",
    );
    for (const wrong of [{}, { hubId: 'a/b', folder: 'x' }, { hubId: '../x' }, { hubId: 'http://x/y' }]) {
      await expect(client.importModel({ name: 'x', ...wrong })).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
      });
    }
    await expect(client.getModel({ name: 'x' })).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  test('an onnx-community repository: the chosen export with its external data', async () => {
    const data = noise(16);
    const export32 = onnx([
      { name: 'w', dims: [4], external: { location: 'model.onnx_data', length: '16' } },
    ]);
    const files = baseFiles();
    files.delete('model.safetensors');
    files.set('onnx/model.onnx', export32);
    files.set('onnx/model.onnx_data', data);
    files.set('onnx/model_q4.onnx', onnx([{ name: 'w', dims: [1], raw: Buffer.alloc(4) }]));
    hub.add('onnx-community/tiny', files);
    const request = { name: 'hub-onnx', hubId: 'onnx-community/tiny' };
    const { version } = await client.importModel({ ...request, include: ['*.json', 'onnx/model_q4.onnx*'] });
    expect(version!.manifest!.files.map(({ path }) => path)).toEqual([
      'config.json',
      'onnx/model_q4.onnx',
      'tokenizer.json',
    ]);
    const { version: whole } = await client.importModel(request);
    expect(whole!.manifest!.files).toHaveLength(5);
    // The export without its data is no version.
    await expect(client.importModel({ ...request, include: ['*.json', 'onnx/model.onnx'] })).rejects.toThrow(
      'model.onnx_data',
    );
  });

  test("an adapter in peft's layout becomes one, with its base", async () => {
    hub.add('tiny/base', repository(20));
    const { version: base } = await client.importModel({ name: 'hub-base', hubId: 'tiny/base' });
    hub.add('tiny/lora', adapterFiles());
    const request = { name: 'hub-lora', hubId: 'tiny/lora' };
    await expect(client.importModel(request)).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
    await expect(client.getModel({ name: 'hub-lora' })).rejects.toMatchObject({ code: status.NOT_FOUND });
    const { version } = await client.importModel({ ...request, base: base!.ref });
    expect(version).toMatchObject({ kind: Kind.ADAPTER, lineage: { base: base!.ref } });
    await expect(client.importModel({ name: 'hub-lora', hubId: 'tiny/base' })).rejects.toMatchObject({
      reason: 'WRONG_KIND',
    });
  });

  test('tells its progress, and ends with its caller', async () => {
    hub.add('tiny/watched', repository(12));
    const steps: Step[] = [];
    let last: { receivedBytes: bigint; totalBytes: bigint; version?: { ref: string } } | undefined;
    const watched = client.watchImportModel({ import: { name: 'hub-watched', hubId: 'tiny/watched' } });
    for await (const message of watched) {
      steps.push(message.step);
      last = message;
    }
    expect(steps.at(-1)).toBe(Step.DONE);
    expect(steps.toSorted((a, b) => a - b)).toEqual(steps);
    expect(last!.version!.ref).toBe('models:/hub-watched/1.0.0');
    expect(last!.receivedBytes).toBe(last!.totalBytes);
    await expect(
      (async () => {
        for await (const _ of client.watchImportModel({ import: { name: 'y', hubId: 'tiny/none' } }));
      })(),
    ).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  test('two imports of one commit share what came', async () => {
    hub.add('tiny/twice', repository(13));
    await Promise.all(['hub-a', 'hub-b'].map((name) => client.importModel({ name, hubId: 'tiny/twice' })));
    const [a, b] = await Promise.all(
      ['hub-a', 'hub-b'].map(async (name) => (await client.getVersion({ name })).version!.digest),
    );
    expect(a).toBe(b);
  });
});
