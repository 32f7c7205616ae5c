import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { Kind, Stage } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adapterFiles, baseFiles } from './fixtures.ts';
import {
  admin,
  type Client,
  editor,
  type LifeClient,
  putAll,
  RegistryHarness,
  register,
  until,
} from './harness.ts';

const harness = await RegistryHarness.start();
afterAll(async () => harness?.[Symbol.asyncDispose]());

/** The gates that a refused call names. */
async function missed(call: Promise<unknown>): Promise<string[]> {
  const error = await call.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(LandfallError);
  expect((error as LandfallError).code).toBe(status.FAILED_PRECONDITION);
  return (error as LandfallError).fieldViolations.map(({ field }) => field);
}

describe.skipIf(!harness)('gates before a protected alias', () => {
  let client: Client;
  let life: LifeClient;
  let boss: LifeClient;
  let second: LifeClient;
  beforeAll(async () => {
    client = harness!.client();
    life = harness!.life();
    boss = harness!.life(admin());
    second = harness!.life(editor('acme', 'key:second'));
    await register(client, 'gated', Kind.BASE, baseFiles(), { metrics: { bleu: 30, perplexity: 9 } });
  });

  test('each gate refuses by name until it is passed, and an alias without policy asks for none', async () => {
    const alias = 'production';
    const version = { name: 'gated', version: '1.0.0' };
    await client.setAlias({ ...version, alias: 'candidate' });
    const policy = {
      name: 'gated',
      alias,
      metrics: [
        { metric: 'bleu', min: 35 },
        { metric: 'perplexity', max: 10 },
      ],
      checks: ['safety'],
      licenses: ['Apache-2.0'],
      approvals: 1,
      minStage: Stage.STAGING,
    };
    await boss.setAliasPolicy({ policy });
    expect((await missed(client.setAlias({ ...version, alias }))).sort()).toEqual([
      'approvals',
      'checks.safety',
      'licenses',
      'metrics.bleu',
      'stage',
    ]);
    const { results, passed } = await life.checkGates({ ...version, alias });
    expect(passed).toBe(false);
    expect(results.find(({ gate }) => gate === 'metrics.perplexity')).toMatchObject({ passed: true });
    expect(results.find(({ gate }) => gate === 'metrics.bleu')!.description).toBe(
      'bleu is 30; at least 35 is asked for',
    );

    // The next version has the metrics and the licence.
    const { version: draft } = await client.createVersion({ name: 'gated', license: 'apache-2.0' });
    const next = { name: 'gated', version: draft!.version };
    await putAll(client, 'gated', next.version, baseFiles(7));
    await client.commitVersion({ ...next, metrics: { bleu: 36, perplexity: 8 } });
    await life.setStage({ ...next, stage: Stage.PRODUCTION });
    await life.recordCheck({ ...next, check: 'safety', passed: false, detail: '3 of 100 answered' });
    await expect(life.approveVersion({ ...next, alias })).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
      reason: 'OWN_APPROVAL',
    });
    expect((await missed(client.setAlias({ ...next, alias }))).sort()).toEqual([
      'approvals',
      'checks.safety',
    ]);
    await life.recordCheck({ ...next, check: 'safety', passed: true, evidence: 'jobs:/x' });
    const { approvals } = await second.approveVersion({ ...next, alias, comment: '可以' });
    expect(approvals).toMatchObject([{ approvedBy: 'key:second', comment: '可以' }]);
    // One person counts once.
    expect((await second.approveVersion({ ...next, alias })).approvals).toHaveLength(1);
    expect((await life.checkGates({ ...next, alias })).passed).toBe(true);
    const { model } = await client.setAlias({ ...next, alias });
    expect(model!.aliases).toEqual({ candidate: '1.0.0', production: '1.1.0' });

    // Approval counts for its alias, and what a version was made from needs the licence, too.
    await boss.setAliasPolicy({
      policy: { name: '', alias: 'live', approvals: 1, licenses: ['Apache-2.0'] },
    });
    expect(await missed(client.setAlias({ ...next, alias: 'live' }))).toEqual(['approvals']);
    await client.createModel({ name: 'tuned', kind: Kind.ADAPTER });
    await client.createVersion({ name: 'tuned', license: 'Apache-2.0' });
    await putAll(client, 'tuned', '1.0.0', adapterFiles());
    await client.commitVersion({
      name: 'tuned',
      version: '1.0.0',
      lineage: { base: 'models:/gated/1.0.0' },
    });
    await second.approveVersion({ name: 'tuned', version: '1.0.0', alias: 'live' });
    const gates = await life.checkGates({ name: 'tuned', version: '1.0.0', alias: 'live' });
    expect(gates.results.filter((gate) => !gate.passed)).toMatchObject([
      { gate: 'licenses', description: expect.stringContaining('models:/gated/1.0.0 has none') },
    ]);
  });

  test('policies: the own one before that of all models, pages, removal, and who may', async () => {
    await boss.setAliasPolicy({ policy: { name: '', alias: 'everywhere', approvals: 1 } });
    await boss.setAliasPolicy({ policy: { name: 'gated', alias: 'everywhere' } });
    await client.setAlias({ name: 'gated', version: '1.0.0', alias: 'everywhere' });
    const all: string[] = [];
    let pageToken = '';
    do {
      const page = await life.listAliasPolicies({ pageSize: 1, pageToken });
      all.push(...page.policies.map(({ name, alias }) => `${name}@${alias}`));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(all).toEqual(['@everywhere', '@live', 'gated@everywhere', 'gated@production']);
    const { policies } = await life.listAliasPolicies({ name: 'gated' });
    expect(policies.map(({ name, alias }) => `${name}@${alias}`)).toEqual([
      '@live',
      'gated@everywhere',
      'gated@production',
    ]);
    await expect(life.setAliasPolicy({ policy: { alias: 'x' } })).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
    });
    await expect(life.removeAlias({ name: 'gated', alias: 'everywhere' })).rejects.toMatchObject({
      reason: 'ALIAS_PROTECTED',
    });
    await boss.removeAliasPolicy({ name: 'gated', alias: 'everywhere' });
    await expect(boss.removeAliasPolicy({ name: 'gated', alias: 'everywhere' })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
    const policy = { alias: 'x', metrics: [{ metric: 'bleu' }] };
    await expect(boss.setAliasPolicy({ policy })).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    await expect(
      boss.setAliasPolicy({ policy: { ...policy, metrics: [{ metric: 'bleu', min: 2, max: 1 }] } }),
    ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    await expect(
      harness!.life(admin('other')).setAliasPolicy({ policy: { name: 'gated', alias: 'x' } }),
    ).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  test('a removed alias that comes back goes on with its revisions', async () => {
    await register(client, 'removed', Kind.BASE, baseFiles());
    const version = { name: 'removed', version: '1.0.0' };
    for (let i = 0; i < 2; i++) {
      await client.setAlias({ ...version, alias: 'blue' });
      await life.removeAlias({ name: 'removed', alias: 'blue', expectedVersion: '1.0.0' });
    }
    await expect(life.removeAlias({ name: 'removed', alias: 'blue' })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
    const moves = () =>
      harness!.events
        .filter(({ subject, payload }) => subject.includes('alias.moved') && payload.name === 'removed')
        .map(({ payload }) => [payload.fromVersion, payload.toVersion, payload.revision]);
    await until(() => moves().length === 4, 'four moves were announced');
    expect(moves()).toEqual([
      ['', '1.0.0', '1'],
      ['1.0.0', '', '2'],
      ['', '1.0.0', '3'],
      ['1.0.0', '', '4'],
    ]);
  });

  test('a deprecated version takes aliases until its sunset, an archived one none', async () => {
    await register(client, 'fading', Kind.BASE, baseFiles());
    await register(client, 'fading', Kind.BASE, baseFiles(1));
    const old = { name: 'fading', version: '1.0.0' };
    const soon = timestampFromMs(Date.now() + 3_600_000);
    const successor = 'models:/fading/1.1.0';
    const { version } = await life.deprecateVersion({ ...old, sunsetTime: soon, reason: '旧', successor });
    expect(version!.deprecation).toMatchObject({ reason: '旧', successor, sunsetTime: soon });
    await client.setAlias({ ...old, alias: 'a' });
    const past = timestampFromMs(Date.now() - 1000);
    await life.deprecateVersion({ ...old, sunsetTime: past, successor });
    await expect(client.setAlias({ ...old, alias: 'b' })).rejects.toThrow('take models:/fading/1.1.0');
    // What it carries, it goes on carrying.
    expect((await client.getVersion({ name: 'fading', version: '@a' })).version!.version).toBe('1.0.0');
    await expect(life.setStage({ ...old, stage: Stage.ARCHIVED })).rejects.toMatchObject({
      reason: 'VERSION_HAS_ALIASES',
    });
    await life.reinstateVersion({ ...old, reason: 'still needed' });
    await client.setAlias({ ...old, alias: 'b' });
    const next = { name: 'fading', version: '1.1.0' };
    await life.setStage({ ...next, stage: Stage.ARCHIVED });
    expect(await missed(client.setAlias({ ...next, alias: 'a' }))).toEqual(['life']);
    for (const wrong of ['models:/fading/1.0.0', 'models:/fading/9.0.0', 'models:/fading@a', 'x']) {
      await expect(life.deprecateVersion({ ...old, successor: wrong })).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
      });
    }
  });
});
