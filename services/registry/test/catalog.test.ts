import { status } from '@grpc/grpc-js';
import { Kind, Stage } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adapterFiles, baseFiles, datasetFiles } from './fixtures.ts';
import { type CatalogClient, type Client, editor, putAll, RegistryHarness, register } from './harness.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 2 ** 31);
const harness = await RegistryHarness.start();
afterAll(async () => harness?.[Symbol.asyncDispose]());

const README = `---
license: apache-2.0
language: [zh, en]
tags: [Medical, 问答]
pipeline_tag: text-generation
---
# 高血压问答

A model that answers about hypertension | in Chinese.
`;

describe.skipIf(!harness)(`the catalog (seed ${seed})`, () => {
  let client: Client;
  let catalog: CatalogClient;
  const found = async (request: Parameters<CatalogClient['searchVersions']>[0]): Promise<string[]> => {
    const refs: string[] = [];
    let pageToken = '';
    do {
      const page = await catalog.searchVersions({ pageSize: 2, ...request, pageToken });
      refs.push(...page.versions.map(({ name, version }) => `${name}/${version}`));
      for (const { manifest } of page.versions) expect(manifest).toBeUndefined();
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return refs;
  };

  beforeAll(async () => {
    client = harness!.client();
    catalog = harness!.catalog();
    const files = baseFiles();
    files.set('README.md', Buffer.from(README));
    await register(client, 'cat-base', Kind.BASE, files, { metrics: { bleu: 5 } });
    await register(client, 'cat-base', Kind.BASE, new Map([...baseFiles(), ['notes.txt', Buffer.from('2')]]));
    await client.createModel({ name: 'cat-tuned', kind: Kind.ADAPTER });
    for (const [mark, bleu] of [
      [1, 20],
      [2, 40],
      [3, 30],
    ] as const) {
      const { version } = await client.createVersion({
        name: 'cat-tuned',
        description: mark === 2 ? '儿科版本' : '',
        labels: { team: 'A' },
        tags: ['LoRA', 'lora ', `mark-${mark}`],
        license: 'MIT',
      });
      await putAll(client, 'cat-tuned', version!.version, adapterFiles(mark));
      await client.commitVersion({
        name: 'cat-tuned',
        version: version!.version,
        metrics: { bleu, base_bleu: 5, perplexity: 10 - mark },
        lineage: {
          base: 'models:/cat-base/1.0.0',
          method: 'lora',
          jobId: 'job-1',
          prompts: [{ ref: 'prompts:/medical/1.0.0', role: 'train' }],
        },
      });
    }
    await register(client, 'cat-rows', Kind.DATASET, datasetFiles());
  });

  test.each([
    [{ text: 'hypertens' }, ['cat-base/1.0.0']],
    [{ text: '高血压' }, ['cat-base/1.0.0']],
    [{ text: '儿科' }, ['cat-tuned/1.1.0']],
    [{ text: 'medical chinese' }, ['cat-base/1.0.0']],
    [{ text: 'medical nothing' }, []],
    [{ text: 'cat rows' }, ['cat-rows/1.0.0']],
    [{ text: "' or 1=1 --" }, []],
    [{ tags: ['MEDICAL', 'zh'] }, ['cat-base/1.0.0']],
    [{ tags: ['team=a', 'mark-3'] }, ['cat-tuned/1.2.0']],
    [{ base: 'models:/cat-base/1.0.0' }, ['cat-tuned/1.2.0', 'cat-tuned/1.1.0', 'cat-tuned/1.0.0']],
    [{ metrics: [{ metric: 'bleu', min: 25 }] }, ['cat-tuned/1.2.0', 'cat-tuned/1.1.0']],
    [{ metrics: [{ metric: 'bleu', min: 20, max: 30 }] }, ['cat-tuned/1.2.0', 'cat-tuned/1.0.0']],
    [{ orderByMetric: 'bleu' }, ['cat-tuned/1.1.0', 'cat-tuned/1.2.0', 'cat-tuned/1.0.0', 'cat-base/1.0.0']],
    [
      { orderByMetric: 'perplexity', ascending: true },
      ['cat-tuned/1.2.0', 'cat-tuned/1.1.0', 'cat-tuned/1.0.0'],
    ],
    [{ license: 'APACHE-2.0' }, ['cat-base/1.0.0']],
    [{ kind: Kind.DATASET }, ['cat-rows/1.0.0']],
    [{ stage: Stage.PRODUCTION }, []],
  ])('finds by %j', async (request, refs) => {
    expect(await found(request)).toEqual(refs);
  });

  test("what is deprecated is shown on demand, what is deleted and what is another tenant's never", async () => {
    const life = harness!.life();
    const version = { name: 'cat-tuned', version: '1.2.0' };
    await life.deprecateVersion(version);
    expect(await found({ tags: ['mark-3'] })).toEqual([]);
    expect(await found({ tags: ['mark-3'], showDeprecated: true })).toEqual(['cat-tuned/1.2.0']);
    await life.reinstateVersion(version);
    await life.deleteVersion(version);
    expect(await found({ tags: ['mark-3'], showDeprecated: true })).toEqual([]);
    await life.restoreVersion(version);
    expect((await harness!.catalog(editor('other')).searchVersions({})).versions).toEqual([]);
    await expect(catalog.searchVersions({ metrics: [{ metric: 'bleu' }] })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    const { nextPageToken } = await catalog.searchVersions({ pageSize: 1 });
    await expect(
      catalog.searchVersions({ pageSize: 1, pageToken: nextPageToken, text: 'x' }),
    ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  test('pages by a metric hold every version once, whatever the values', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 4 }),
        async (values, ascending, pageSize) => {
          const tenant = `metrics-${Math.random()}`;
          const own = harness!.client(editor(tenant));
          for (const [index, value] of values.entries()) {
            await register(own, `m${index}`, Kind.DATASET, datasetFiles(), { metrics: { score: value } });
          }
          const seen: number[] = [];
          let pageToken = '';
          do {
            const request = { orderByMetric: 'score', ascending, pageSize, pageToken };
            const page = await harness!.catalog(editor(tenant)).searchVersions(request);
            seen.push(...page.versions.map(({ metrics }) => metrics.score!));
            pageToken = page.nextPageToken;
          } while (pageToken !== '');
          const sorted = [...values].sort((a, b) => (ascending ? a - b : b - a));
          expect(seen.map((value) => value + 0)).toEqual(sorted.map((value) => value + 0));
        },
      ),
      { seed, numRuns: 8 },
    );
  });

  test('a card is written from the facts, with its README, and what is not known is left out', async () => {
    await harness!.life().recordCheck({ name: 'cat-base', version: '1.0.0', check: 'safety', passed: true });
    const { card } = await catalog.getModelCard({ name: 'cat-base', version: '1.0.0' });
    expect(card!.facts).toMatchObject({
      model_type: 'llama',
      hidden_size: '8',
      layers: '1',
      vocabulary: '32',
      parameters: String(32 * 8 + 64 + 32 + 32 + 64 + 128 + 128 + 128 + 8),
      dtype: 'F32',
    });
    expect(card!.version).toMatchObject({ license: 'apache-2.0' });
    expect(card!.version!.tags).toEqual(['medical', '问答', 'zh', 'en', 'text-generation']);
    expect(card!.readme).toContain('answers about hypertension');
    expect(card!.markdown).toMatch(/^---\nlicense: apache-2.0\n/);
    expect(card!.markdown).toContain('| safety | passed |');
    expect(card!.markdown).not.toContain('## Approvals');
    const tuned = await catalog.getModelCard({ name: 'cat-tuned', version: '1.1.0' });
    expect(tuned.card!.facts).toMatchObject({ peft_type: 'LORA', rank: '2', alpha: '4' });
    expect(tuned.card!.markdown).toContain('| bleu | 40 | 5 |');
    for (const origin of ['base `models:/cat-base/1.0.0`', '`prompts:/medical/1.0.0`', '`job-1`, lora']) {
      expect(tuned.card!.markdown).toContain(origin);
    }
    const rows = await catalog.getModelCard({ name: 'cat-rows' });
    expect(rows.card!.facts).toEqual({ rows: '1', fields: 'answer, question' });
  });

  test('versions side by side: metrics against the first, facts that differ, files by path and content', async () => {
    const refs = ['models:/cat-tuned/1.0.0', 'models:/cat-tuned/1.1.0', 'models:/cat-base/1.0.0'];
    const comparison = await catalog.compareVersions({ refs });
    const bleu = comparison.metrics.find(({ metric }) => metric === 'bleu')!;
    expect(bleu.cells.map(({ value, difference }) => [value, difference])).toEqual([
      [20, 0],
      [40, 20],
      [5, -15],
    ]);
    const perplexity = comparison.metrics.find(({ metric }) => metric === 'perplexity')!;
    expect([perplexity.cells[2]!.value, perplexity.cells[2]!.difference]).toEqual([undefined, undefined]);
    expect(comparison.facts.find(({ fact }) => fact === 'license')!.values).toEqual([
      'MIT',
      'MIT',
      'apache-2.0',
    ]);
    expect(comparison.facts.some(({ fact }) => fact === 'stage')).toBe(false);
    expect(comparison.files[0]).toMatchObject({
      added: [],
      removed: [],
      changed: ['adapter_model.safetensors'],
      sharedBytes: BigInt(adapterFiles().get('adapter_config.json')!.length),
    });
    await expect(
      catalog.compareVersions({ refs: [refs[0]!, 'models:/cat-tuned/9.0.0'] }),
    ).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  test('a second version that shares its weights costs its difference', async () => {
    const { rows, total } = await catalog.getStorage({ name: 'cat-base' });
    const weights = BigInt(baseFiles().get('model.safetensors')!.length);
    expect(rows.map(({ version }) => version)).toEqual(['1.0.0', '1.1.0']);
    expect(rows[1]).toMatchObject({ addedBytes: 1n, exclusiveBytes: 1n });
    expect(rows[0]!.addedBytes).toBe(rows[0]!.storedBytes);
    expect(rows[0]!.exclusiveBytes).toBe(BigInt(Buffer.byteLength(README)));
    expect(total!.logicalBytes - total!.storedBytes).toBeGreaterThan(weights);
    expect(total!.storedBytes).toBe(rows[0]!.storedBytes + 1n);
    const names: string[] = [];
    let pageToken = '';
    do {
      const page = await catalog.getStorage({ pageSize: 1, pageToken });
      names.push(...page.rows.map(({ name }) => name));
      expect(page.total!.storedBytes).toBeGreaterThanOrEqual(page.rows[0]!.storedBytes);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(names).toEqual(['cat-base', 'cat-rows', 'cat-tuned']);
  });

  test('lineage reaches prompts, and goes one way or some steps on demand', async () => {
    const version = { name: 'cat-tuned', version: '1.1.0' };
    const { nodes, edges } = await client.getLineage(version);
    expect(nodes.find(({ type }) => type === 'prompt')).toMatchObject({
      ref: 'prompts:/medical/1.0.0',
      depth: -1,
    });
    expect(edges).toContainEqual(
      expect.objectContaining({
        from: 'prompts:/medical/1.0.0',
        to: 'models:/cat-tuned/1.1.0',
        relation: 'train',
      }),
    );
    const forward = await client.getLineage({ name: 'cat-base', version: '1.0.0', direction: 2 });
    expect(forward.nodes.map(({ ref, depth }) => [ref, depth])).toEqual([
      ['models:/cat-base/1.0.0', 0],
      ['models:/cat-tuned/1.0.0', 1],
      ['jobs:/job-1', 0],
      ['models:/cat-tuned/1.1.0', 1],
      ['models:/cat-tuned/1.2.0', 1],
    ]);
    const back = await client.getLineage({ ...version, direction: 1, maxDepth: 1 });
    expect(back.nodes.map(({ ref }) => ref).sort()).toEqual([
      'jobs:/job-1',
      'models:/cat-base/1.0.0',
      'models:/cat-tuned/1.1.0',
      'prompts:/medical/1.0.0',
    ]);
  });
});
