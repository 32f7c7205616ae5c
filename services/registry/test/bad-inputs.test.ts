import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import type { LandfallError } from '@landfall/common/errors/errors.ts';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  adapterFiles,
  baseFiles,
  CONFIG,
  datasetFiles,
  type Files,
  onnx,
  rawSafetensors,
  safetensors,
  writeFolder,
} from './fixtures.ts';
import { type Client, putAll, RegistryHarness, register } from './harness.ts';

const harness = await RegistryHarness.start({ LANDFALL_IMPORT_MAX_FILES: '20' });
afterAll(async () => harness?.[Symbol.asyncDispose]());

const invalid = { code: status.INVALID_ARGUMENT };
const refused = { code: status.FAILED_PRECONDITION };

/** The error of a call, which must say nothing of where files lie or what runs. */
async function failure(call: Promise<unknown>): Promise<LandfallError> {
  const error = await call.then(
    () => {
      throw new Error('the call succeeded');
    },
    (reason: LandfallError) => reason,
  );
  const told = JSON.stringify([error.message, error.fieldViolations, error.metadata]);
  expect(told).not.toContain(harness!.folder);
  expect(told).not.toMatch(/\.ts:\d+|node:internal|node_modules|ENOENT|root:/);
  return error;
}

describe.skipIf(!harness)('bad input', () => {
  let client: Client;
  let count = 0;
  /** A fresh model with an open draft 1.0.0. */
  const draft = async (kind: Kind) => {
    const name = `bad-${++count}`;
    await client.createModel({ name, kind });
    await client.createVersion({ name });
    return name;
  };
  const commit = async (kind: Kind, files: Files, lineage = {}) => {
    const name = await draft(kind);
    await putAll(client, name, '1.0.0', files);
    return client.commitVersion({ name, version: '1.0.0', lineage });
  };
  const stored = () =>
    readdirSync(join(harness!.artifacts, 'sha256'), { recursive: true, withFileTypes: true }).filter((e) =>
      e.isFile(),
    ).length;

  beforeAll(async () => {
    client = harness!.client();
    await register(client, 'good-base', Kind.BASE, baseFiles());
  });

  test.each([
    '../x',
    '..\\..\\x',
    '..%2fx',
    '%252e%252e',
    '/etc/passwd',
    'a\0b',
    'A',
    '',
    'a..b',
    "x'; drop table model",
    'a'.repeat(65),
  ])('the name %j', async (name) => {
    for (const call of [
      () => client.createModel({ name, kind: Kind.BASE }),
      () => client.getModel({ name }),
      () => client.createVersion({ name }),
      () => client.putArtifact({ header: { name, version: '1.0.0', path: 'x' }, content: Buffer.from('x') }),
      () => client.commitVersion({ name, version: '1.0.0' }),
      () => client.setAlias({ name, alias: 'production', version: '1.0.0' }),
      () => client.importModel({ name, folder: 'tiny' }),
      () => client.getLineage({ name, version: '1.0.0' }),
    ]) {
      expect(await failure(call())).toMatchObject(invalid);
    }
  });

  test.each([
    '../1.0.0',
    'v1.0.0',
    '1.0',
    '01.0.0',
    '1.0.0-01',
    '99999999999999999999.0.0',
    '@',
    '@..',
    '1.0.0\0',
  ])('the version %j', async (version) => {
    const name = 'good-base';
    expect(await failure(client.getVersion({ name, version }))).toMatchObject(invalid);
    expect(await failure(client.commitVersion({ name, version }))).toMatchObject(invalid);
    expect(await failure(client.setAlias({ name, alias: 'production', version }))).toMatchObject(invalid);
    expect(await failure(client.getLineage({ name, version }))).toMatchObject(invalid);
    if (!version.startsWith('@'))
      expect(await failure(client.createVersion({ name, version }))).toMatchObject(invalid);
  });

  test.each([
    '../x',
    '..\\..\\x',
    '..%2fx',
    '%252e%252e/x',
    '/etc/passwd',
    'a\0b',
    'C:\\x',
    'a//b',
    '．．/x',
    './x',
  ])('the path %j', async (path) => {
    const name = await draft(Kind.DATASET);
    const before = stored();
    const header = { name, version: '1.0.0', path };
    expect(await failure(client.putArtifact({ header, content: Buffer.from(path) }))).toMatchObject(invalid);
    const stream = (async function* () {
      yield { part: { case: 'header' as const, value: header } };
    })();
    expect(await failure(client.uploadArtifact(stream))).toMatchObject(invalid);
    const download = (async () => {
      for await (const _ of client.downloadArtifact(header));
    })();
    expect(await failure(download)).toMatchObject(invalid);
    expect(stored()).toBe(before);
  });

  test.each([
    'sha256:../../x',
    `sha256:${'a'.repeat(63)}`,
    `sha256:${'a'.repeat(65)}`,
    `sha256:${'A'.repeat(64)}`,
    `md5:${'a'.repeat(32)}`,
    'a'.repeat(64),
  ])('the digest %j', async (digest) => {
    const name = await draft(Kind.DATASET);
    const header = { name, version: '1.0.0', path: 'x.json', digest };
    expect(await failure(client.putArtifact({ header, content: Buffer.from('[]') }))).toMatchObject(invalid);
    const download = (async () => {
      for await (const _ of client.downloadArtifact({ name, version: '1.0.0', digest }));
    })();
    expect(await failure(download)).toMatchObject(invalid);
    const manifest = { files: [{ path: 'x.json', digest, sizeBytes: 2n }] };
    expect(await failure(client.commitVersion({ name, version: '1.0.0', manifest }))).toMatchObject(invalid);
    const lineage = { datasets: [{ ref: 'models:/x/1.0.0', digest, role: 'train' }] };
    expect(await failure(client.commitVersion({ name, version: '1.0.0', lineage }))).toMatchObject(invalid);
  });

  const pickle = Buffer.from("cos\nsystem\n(S'touch /tmp/landfall-was-here'\ntR.");
  test.each<[string, string, Buffer]>([
    ['a pickle under an honest name', 'model.pkl', pickle],
    ['a pickle as .bin', 'pytorch_model.bin', Buffer.from('x')],
    ['a checkpoint', 'model.pt', Buffer.from('x')],
    ['a pickle as JSON', 'rows.json', pickle],
    [
      'a pickle as safetensors',
      'model.safetensors',
      Buffer.from('\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.', 'latin1'),
    ],
    [
      'a pickle without a name',
      'weights',
      Buffer.from('\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.', 'latin1'),
    ],
    ['GGUF', 'model.gguf', Buffer.from('GGUF\x03\x00\x00\x00')],
    ['GGUF as safetensors', 'model.safetensors', Buffer.from('GGUF\x03\x00\x00\x00')],
    ['a torch zip', 'weights.dat', Buffer.from('PK\x03\x04archive/data.pkl')],
    ['a tar archive', 'files.tar', Buffer.from('x')],
    [
      'a tar archive as text',
      'files.txt',
      Buffer.concat([Buffer.alloc(257, 0x61), Buffer.from('ustar\x0000')]),
    ],
    ['gzip', 'rows.json', Buffer.from([0x1f, 0x8b, 8, 0])],
    ['a NumPy file', 'a.dat', Buffer.from('\x93NUMPY\x01\x00', 'latin1')],
  ])('%s is not taken', async (_what, path, content) => {
    const name = await draft(Kind.BASE);
    const before = stored();
    const error = await failure(client.putArtifact({ header: { name, version: '1.0.0', path }, content }));
    expect(error).toMatchObject(invalid);
    expect(stored()).toBe(before);
    expect((await client.getVersion({ name, version: '1.0.0' })).version!.manifest!.files).toEqual([]);
  });

  const withFile = (files: Files, path: string, content: Buffer | string) =>
    new Map([...files, [path, Buffer.from(content)]]);
  const without = (files: Files, path: string) => new Map([...files].filter(([key]) => key !== path));
  const lying = (entry: unknown, bytes = 8) => rawSafetensors({ w: entry }, bytes);
  const huge = Buffer.alloc(64);
  huge.writeBigUInt64LE(1n << 60n);
  const sound = baseFiles();
  const weights = sound.get('model.safetensors')!;
  const config = (change: object) => JSON.stringify({ ...CONFIG, ...change });
  test.each<[string, Files]>([
    ['a header of 2^60 bytes', withFile(sound, 'model.safetensors', huge)],
    [
      'weights that are cut off',
      withFile(sound, 'model.safetensors', weights.subarray(0, weights.length - 1)),
    ],
    ['weights with a tail', withFile(sound, 'model.safetensors', Buffer.concat([weights, Buffer.alloc(8)]))],
    [
      'a shape larger than the file',
      withFile(sound, 'model.safetensors', lying({ dtype: 'F32', shape: [1e6, 1e6], data_offsets: [0, 8] })),
    ],
    [
      'offsets behind the file',
      withFile(sound, 'model.safetensors', lying({ dtype: 'F32', shape: [2], data_offsets: [800, 808] })),
    ],
    [
      'negative offsets',
      withFile(sound, 'model.safetensors', lying({ dtype: 'F32', shape: [2], data_offsets: [-8, 0] })),
    ],
    [
      'an unknown type',
      withFile(sound, 'model.safetensors', lying({ dtype: 'PICKLE', shape: [2], data_offsets: [0, 8] })),
    ],
    ['empty weights', withFile(sound, 'model.safetensors', '')],
    [
      'weights of another shape than the configuration',
      withFile(sound, 'config.json', config({ vocab_size: 64 })),
    ],
    ['weights with too few layers', withFile(sound, 'config.json', config({ num_hidden_layers: 2 }))],
    ['an unknown architecture', withFile(sound, 'config.json', config({ model_type: 'x' }))],
    ['a configuration without sizes', withFile(sound, 'config.json', '{"model_type":"llama"}')],
    ['sizes that are no numbers', withFile(sound, 'config.json', config({ hidden_size: '8' }))],
    ['1e9 layers', withFile(sound, 'config.json', config({ num_hidden_layers: 1e9 }))],
    ['a configuration that is no JSON', withFile(sound, 'config.json', '{')],
    ['a configuration that is a list', withFile(sound, 'config.json', '[]')],
    ['no configuration', without(sound, 'config.json')],
    ['no tokenizer', without(sound, 'tokenizer.json')],
    ['a tokenizer that is no JSON', withFile(sound, 'tokenizer.json', 'model')],
    ['no weights', without(sound, 'model.safetensors')],
    ['a second file that lies', withFile(sound, 'other.safetensors', huge)],
    [
      'an index that names a missing shard',
      withFile(
        without(sound, 'model.safetensors'),
        'model.safetensors.index.json',
        '{"weight_map":{"w":"model-1.safetensors"}}',
      ),
    ],
    [
      'an index that climbs out',
      withFile(
        without(sound, 'model.safetensors'),
        'model.safetensors.index.json',
        '{"weight_map":{"w":"../../etc/x.safetensors"}}',
      ),
    ],
    [
      'ONNX data outside the folder',
      withFile(
        sound,
        'onnx/model.onnx',
        onnx([{ name: 'w', dims: [1], external: { location: '../model.safetensors' } }]),
      ),
    ],
    [
      'ONNX data in a file that is not there',
      withFile(
        sound,
        'onnx/model.onnx',
        onnx([{ name: 'w', dims: [1], external: { location: 'model.onnx_data' } }]),
      ),
    ],
    [
      'ONNX data behind the end of its file',
      withFile(
        withFile(
          sound,
          'onnx/model.onnx',
          onnx([{ name: 'w', dims: [2], external: { location: 'w.data', offset: '4' } }]),
        ),
        'onnx/w.data',
        Buffer.alloc(8),
      ),
    ],
    [
      'ONNX with a shape larger than the file',
      withFile(sound, 'onnx/model.onnx', onnx([{ name: 'w', dims: [1e6, 1e6], raw: Buffer.alloc(4) }])),
    ],
    ['a file that is a folder too', withFile(withFile(sound, 'a', '1'), 'a/b', '2')],
  ])('a base model with %s is not committed', async (_what, files) => {
    expect(await failure(commit(Kind.BASE, files))).toMatchObject(invalid);
    const { version } = await client.getVersion({ name: `bad-${count}`, version: '1.0.0' });
    expect(version!.state).toBe(VersionState.DRAFT);
    expect(harness!.ready(`bad-${count}`)).toEqual([]);
  });

  test('ONNX with its data beside it is taken', async () => {
    const model = onnx([
      { name: 'w', dims: [2], external: { location: 'w.data', offset: '4', length: '8' } },
    ]);
    const files = withFile(withFile(sound, 'onnx/model.onnx', model), 'onnx/w.data', Buffer.alloc(12));
    expect((await commit(Kind.BASE, files)).version!.state).toBe(VersionState.READY);
  });

  const adapter = adapterFiles();
  const loraA = 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight';
  test.each<[string, Files]>([
    ['no configuration', without(adapter, 'adapter_config.json')],
    ['no weights', without(adapter, 'adapter_model.safetensors')],
    ['weights that lie', withFile(adapter, 'adapter_model.safetensors', huge)],
    ['half a factor', withFile(adapter, 'adapter_model.safetensors', safetensors({ [loraA]: [2, 8] }))],
    ['no tensors', withFile(adapter, 'adapter_model.safetensors', safetensors({}))],
    ['a rank of 1e9', withFile(adapter, 'adapter_config.json', '{"peft_type":"LORA","r":1000000000}')],
    ['no type', withFile(adapter, 'adapter_config.json', '{"r":2}')],
  ])('an adapter with %s is not committed', async (_what, files) => {
    expect(await failure(commit(Kind.ADAPTER, files, { base: 'models:/good-base/1.0.0' }))).toMatchObject(
      invalid,
    );
  });

  test('an adapter without a known base is FAILED_PRECONDITION', async () => {
    await client.createModel({ name: 'draft-base', kind: Kind.BASE });
    await client.createVersion({ name: 'draft-base' });
    const data = await register(client, 'not-a-base', Kind.DATASET, datasetFiles());
    for (const base of [
      '',
      'models:/nowhere/1.0.0',
      'models:/good-base/9.0.0',
      'models:/draft-base/1.0.0',
      data.ref,
    ]) {
      expect(await failure(commit(Kind.ADAPTER, adapter, { base })), base).toMatchObject(refused);
    }
    for (const base of ['good-base', 'models:/../1.0.0', 'models:/good-base/v1', 'file:///etc/passwd']) {
      expect(await failure(commit(Kind.ADAPTER, adapter, { base })), base).toMatchObject(invalid);
    }
    const datasets = [{ ref: data.ref, digest: `sha256:${'0'.repeat(64)}`, role: 'train' }];
    const base = 'models:/good-base/1.0.0';
    expect(await failure(commit(Kind.ADAPTER, adapter, { base, datasets }))).toMatchObject(refused);
  });

  test('bad rows of a data set are reported by file and number', async () => {
    const rows = '{"a":1}\n\nnot json\n{"b":2}\n[3]\n';
    const error = await failure(commit(Kind.DATASET, new Map([['train.jsonl', Buffer.from(rows)]])));
    expect(error).toMatchObject({ ...refused, reason: 'BAD_ROWS' });
    expect(error.fieldViolations.map(({ field }) => field)).toEqual(['train.jsonl[3]', 'train.jsonl[5]']);
    const utf16 = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from('[{"a":1}]', 'utf16le')]);
    for (const [path, content] of [
      ['train.json', Buffer.from('[{"a":1},{"b":')],
      ['train.json', Buffer.from('"text"')],
      ['train.json', utf16],
      ['train.json', Buffer.from('[]')],
      ['train.jsonl', Buffer.from('')],
      ['readme.txt', Buffer.from('no rows here')],
    ] as const) {
      const call = commit(Kind.DATASET, new Map([[path, content]]));
      expect(await failure(call), `${path} ${content}`).toMatchObject(refused);
    }
    const many = Array.from({ length: 5000 }, () => 'x').join('\n');
    const long = await failure(commit(Kind.DATASET, new Map([['train.jsonl', Buffer.from(many)]])));
    expect(long.fieldViolations.length).toBe(20);
  });

  test('metrics that are no numbers, and texts that no database keeps', async () => {
    const name = await draft(Kind.DATASET);
    await putAll(client, name, '1.0.0', datasetFiles());
    const bad: Record<string, number>[] = [
      { bleu: Number.NaN },
      { bleu: Number.POSITIVE_INFINITY },
      { '': 1 },
      { 'a b': 1 },
    ];
    for (const metrics of bad) {
      expect(await failure(client.commitVersion({ name, version: '1.0.0', metrics }))).toMatchObject(invalid);
    }
    const lineage = { jobId: 'a\0b' };
    expect(await failure(client.commitVersion({ name, version: '1.0.0', lineage }))).toMatchObject(invalid);
    expect(await failure(client.createVersion({ name, description: 'a\0b' }))).toMatchObject(invalid);
    expect(await failure(client.createVersion({ name, labels: { 'A b': '1' } }))).toMatchObject(invalid);
    expect(
      await failure(client.createModel({ name: 'nul', kind: Kind.BASE, description: '\0' })),
    ).toMatchObject(invalid);
  });

  describe('import', () => {
    test.each([
      '../x',
      '..',
      '../import/../..',
      '..%2f..',
      '%252e%252e',
      '/etc',
      'a\\..\\b',
      'nowhere',
      'a\0b',
      '~',
      'C:\\',
    ])('the folder %j', async (folder) => {
      expect(await failure(client.importModel({ name: 'imp', folder }))).toMatchObject(invalid);
      await expect(client.getModel({ name: 'imp' })).rejects.toMatchObject({ code: status.NOT_FOUND });
    });

    const cases: Record<string, (folder: string) => void> = {
      'a link to a file outside': (folder) => {
        writeFileSync(join(harness!.folder, 'secret'), 'secret');
        symlinkSync(join(harness!.folder, 'secret'), join(folder, 'notes.txt'));
      },
      'a link to /etc/passwd': (folder) => symlinkSync('/etc/passwd', join(folder, 'LICENSE')),
      'a linked folder': (folder) => symlinkSync('/etc', join(folder, 'etc')),
      'a linked folder inside': (folder) => symlinkSync(folder, join(folder, 'again')),
      'a link to nowhere': (folder) => symlinkSync('/nowhere', join(folder, 'x')),
      'a pipe': (folder) => execFileSync('mkfifo', [join(folder, 'pipe')]),
      'a pickle': (folder) => writeFileSync(join(folder, 'pytorch_model.bin'), pickle),
      'a pickle by content': (folder) => writeFileSync(join(folder, 'notes.txt'), pickle),
      'an archive': (folder) => writeFileSync(join(folder, 'x.zip'), 'PK'),
      'weights that lie': (folder) => writeFileSync(join(folder, 'model.safetensors'), huge),
      'a name with a back slash': (folder) => writeFileSync(join(folder, 'a\\b'), 'x'),
      'too many files': (folder) => {
        for (let i = 0; i < 20; i++) writeFileSync(join(folder, `f${i}`), String(i));
      },
      'folders too deep': (folder) => {
        const deep = join(folder, 'a/b/c/d/e/f/g/h/i');
        mkdirSync(deep, { recursive: true });
        writeFileSync(join(deep, 'x'), 'x');
      },
    };
    test.each(Object.keys(cases))('%s leaves nothing behind', async (what) => {
      const folder = `case-${Object.keys(cases).indexOf(what)}`;
      // Weights of its own, so that content which is left over would be seen.
      writeFolder(join(harness!.importRoot, folder), baseFiles(1000 + Object.keys(cases).indexOf(what)));
      cases[what]!(join(harness!.importRoot, folder));
      const before = stored();
      expect(await failure(client.importModel({ name: 'imp', folder }))).toMatchObject(invalid);
      await expect(client.getModel({ name: 'imp' })).rejects.toMatchObject({ code: status.NOT_FOUND });
      expect(stored()).toBe(before);
      expect(readdirSync(join(harness!.artifacts, 'tmp'))).toEqual([]);
    });

    test('a folder reached through a link out of the root is not there', async () => {
      mkdirSync(join(harness!.folder, 'outside'));
      writeFolder(join(harness!.folder, 'outside'), baseFiles());
      symlinkSync(join(harness!.folder, 'outside'), join(harness!.importRoot, 'way-out'));
      expect(await failure(client.importModel({ name: 'imp', folder: 'way-out' }))).toMatchObject(invalid);
    });

    test('links to files under the root are followed, as in the cache of the Hugging Face hub', async () => {
      const hub = join(harness!.importRoot, 'models--tiny');
      const blobs = new Map([...baseFiles(7)].map(([path, content]) => [`blobs/${path}.blob`, content]));
      writeFolder(hub, blobs);
      mkdirSync(join(hub, 'snapshots', 'main'), { recursive: true });
      for (const path of baseFiles().keys())
        symlinkSync(`../../blobs/${path}.blob`, join(hub, 'snapshots', 'main', path));
      const { version } = await client.importModel({ name: 'hub', folder: 'models--tiny/snapshots/main' });
      expect(version!.manifest!.files.length).toBe(3);
    });
  });
});
