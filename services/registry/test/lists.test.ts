import { status } from '@grpc/grpc-js';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import fc from 'fast-check';
import { compare } from 'semver';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adapterFiles, baseFiles } from './fixtures.ts';
import { type Client, editor, putAll, RegistryHarness, register } from './harness.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 2 ** 31);
const harness = await RegistryHarness.start();
afterAll(async () => harness?.[Symbol.asyncDispose]());

async function allPages<R>(page: (pageToken: string) => Promise<{ rows: R[]; next: string }>): Promise<R[]> {
  const all: R[] = [];
  for (let token = '', calls = 0; ; calls++) {
    const { rows, next } = await page(token);
    all.push(...rows);
    if (next === '') return all;
    expect(rows.length, 'a page before the last is full').toBeGreaterThan(0);
    expect(calls).toBeLessThan(1000);
    token = next;
  }
}

describe.skipIf(!harness)(`lists (seed ${seed})`, () => {
  let client: Client;
  const names = ['a', 'a-b', 'a.b', 'a_b', 'ab', 'b', 'b0', 'medical-qa', 'medical.qa', 'medical_qa', 'z'];
  const versions = [
    '1.0.0',
    '1.2.0',
    '1.10.0',
    '1.9.0',
    '2.0.0-rc.1',
    '2.0.0-rc.2',
    '2.0.0-alpha',
    '2.0.0',
    '0.1.0',
  ];
  beforeAll(async () => {
    client = harness!.client(editor('lists'));
    for (const [index, name] of names.entries()) {
      await client.createModel({ name, kind: index % 2 === 0 ? Kind.BASE : Kind.ADAPTER });
    }
    for (const version of versions) await client.createVersion({ name: 'a', version });
    const base = await register(client, 'b0x', Kind.BASE, baseFiles());
    await client.createVersion({ name: 'a-b' });
    await putAll(client, 'a-b', '1.0.0', adapterFiles());
    await client.commitVersion({ name: 'a-b', version: '1.0.0', lineage: { base: base.ref } });
    // Another tenant's rows are between ours.
    const other = harness!.client(editor('other'));
    for (const name of names) await other.createModel({ name, kind: Kind.BASE });
    await other.createVersion({ name: 'a', version: '1.1.0' });
  });

  test('pages of any size hold every model once, in order, by kind and prefix', async () => {
    const all = [...names, 'b0x'];
    const kinds = new Map(names.map((name, index) => [name, index % 2 === 0 ? Kind.BASE : Kind.ADAPTER]));
    kinds.set('b0x', Kind.BASE);
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 14 }),
        fc.constantFrom('', 'a', 'a_', 'medical', 'b', 'zz'),
        fc.constantFrom(Kind.UNSPECIFIED, Kind.BASE, Kind.ADAPTER, Kind.DATASET),
        async (pageSize, namePrefix, kind) => {
          const rows = await allPages(async (pageToken) => {
            const { models, nextPageToken } = await client.listModels({
              pageSize,
              pageToken,
              namePrefix,
              kind,
            });
            expect(models.length).toBeLessThanOrEqual(pageSize);
            return { rows: models.map(({ name }) => name), next: nextPageToken };
          });
          const wanted = all
            .filter(
              (name) =>
                name.startsWith(namePrefix) && (kind === Kind.UNSPECIFIED || kinds.get(name) === kind),
            )
            .sort((a, b) => (a < b ? -1 : 1));
          expect(rows).toEqual(wanted);
        },
      ),
      { seed, numRuns: 40 },
    );
  });

  test('versions of a model come by precedence, newest first', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 10 }), async (pageSize) => {
        const rows = await allPages(async (pageToken) => {
          const reply = await client.listVersions({ name: 'a', pageSize, pageToken });
          return { rows: reply.versions.map(({ version }) => version), next: reply.nextPageToken };
        });
        expect(rows).toEqual([...versions].sort(compare).reverse());
      }),
      { seed, numRuns: 15 },
    );
  });

  test('versions of all models come by age, newest first, with filters', async () => {
    const rows = await allPages(async (pageToken) => {
      const reply = await client.listVersions({ pageSize: 3, pageToken });
      return { rows: reply.versions.map(({ ref }) => ref), next: reply.nextPageToken };
    });
    const mine = [
      ...versions.map((version) => `models:/a/${version}`),
      'models:/b0x/1.0.0',
      'models:/a-b/1.0.0',
    ];
    expect(rows).toEqual(mine.reverse());
    const refs = async (request: Parameters<Client['listVersions']>[0]) =>
      (await client.listVersions(request)).versions.map(({ ref }) => ref);
    expect(await refs({ state: VersionState.READY })).toEqual(['models:/a-b/1.0.0', 'models:/b0x/1.0.0']);
    expect(await refs({ kind: Kind.ADAPTER })).toEqual(['models:/a-b/1.0.0']);
    expect(await refs({ base: 'models:/b0x/1.0.0' })).toEqual(['models:/a-b/1.0.0']);
    expect(await refs({ base: 'models:/b0x/1.0.1' })).toEqual([]);
  });

  test('tokens that are none, or of another list, are INVALID_ARGUMENT', async () => {
    const { nextPageToken } = await client.listModels({ pageSize: 2 });
    const print = (JSON.parse(Buffer.from(nextPageToken, 'base64url').toString()) as string[])[0];
    const forged = (key: unknown) => Buffer.from(JSON.stringify([print, key])).toString('base64url');
    for (const request of [
      { pageToken: 'x' },
      { pageToken: nextPageToken, kind: Kind.BASE },
      { pageToken: nextPageToken, namePrefix: 'a' },
      { pageToken: forged("a' or '1'='1") },
      { pageToken: forged({ $gt: '' }) },
      { pageToken: forged('a\0') },
    ]) {
      await expect(client.listModels(request)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    }
    await expect(client.listVersions({ pageToken: nextPageToken })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(client.listVersions({ base: "x' or 1=1 --" })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(client.listModels({ pageSize: 501 })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(client.listModels({ pageSize: -1 })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
  });
});
