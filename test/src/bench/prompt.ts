import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { Database } from '@landfall/common/db/database.ts';
import { startPostgresCluster } from '@landfall/common/db/postgres-cluster.ts';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import {
  PromptDraftSchema,
  type PromptService,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { promptEntities } from '../../../services/prompt/src/db/entities.ts';
import { promptMigrations } from '../../../services/prompt/src/db/migrations.ts';
import { loadDraft, storeDraft } from '../../../services/prompt/src/domain/draft.ts';
import { render } from '../../../services/prompt/src/domain/render.ts';
import { type Filled, fill, promptName } from './prompt-fill.ts';
import { filtersOf } from './prompt-filters.ts';
import { postgresSink, sqliteSink } from './prompt-sink.ts';
import { stage } from './prompt-stage.ts';
import { quantile, type Report, UsageError } from './report.ts';

type Prompts = RpcClient<typeof PromptService>;

/**
 * The prompt service over a full database: reads by label, the log's first page by each filter, rendering, and what
 * the log adds to a stream, against the same service without a log, in turn.
 */
export async function run(report: Report, args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      invocations: { type: 'string', default: '1000000' },
      versions: { type: 'string', default: '10000' },
      database: { type: 'string', default: 'sqlite' },
      seed: { type: 'string', default: '1' },
    },
  });
  const [invocations, versions] = [Number(values.invocations), Number(values.versions)];
  const seed = BigInt(values.seed);
  await using running = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'landfall-bench-'));
  running.defer(() => rmSync(folder, { recursive: true, force: true }));
  const url = values.database === 'postgres' ? await cluster(running) : '';
  const homes = { full: join(folder, 'full'), empty: join(folder, 'empty') };
  const begun = performance.now();
  const filled = await filledDatabase(url, homes.full, invocations, versions, seed);
  report.figure('fill', (performance.now() - begun) / 1000, 's');
  const around = running.use(await stage(folder));
  const prompts = await around.start('with-log', url, homes.full);
  await labelReads(report, prompts, filled, seed);
  await rendering(report, prompts, seed);
  await pages(report, prompts, filled, seed);
  mkdirSync(homes.empty);
  const without = await around.start('without-log', '', homes.empty);
  await streams(report, prompts, without);
  return { database: values.database, invocations, versions };
}

async function cluster(running: AsyncDisposableStack): Promise<string> {
  const started = await startPostgresCluster();
  if (!started) throw new UsageError('no PostgreSQL server binaries were found (initdb, postgres)');
  return running.use(started).url;
}

async function filledDatabase(
  url: string,
  home: string,
  invocations: number,
  versions: number,
  seed: bigint,
): Promise<Filled> {
  const file = join(home, 'prompt', 'prompt.sqlite');
  const tables = { entities: promptEntities, migrations: promptMigrations };
  await (await Database.open({ service: 'prompt', url, file, ...tables }))[Symbol.asyncDispose]();
  await using sink = url ? await postgresSink(url) : sqliteSink(file);
  return await fill(sink, invocations, versions, seed);
}

async function times(count: number, call: (i: number) => Promise<unknown>): Promise<number[]> {
  const measured: number[] = [];
  for (let i = 0; i < count; i++) {
    const at = performance.now();
    await call(i);
    measured.push(performance.now() - at);
  }
  return measured;
}

async function labelReads(report: Report, prompts: Prompts, filled: Filled, seed: bigint): Promise<void> {
  const random = randomOf(seed, 'labels');
  const read = () =>
    prompts.getPrompt({ name: promptName(Math.floor(random() * filled.prompts)), version: '@production' });
  // What any call costs on this machine now: one that asks no database, in turn with the reads.
  const bare = () => prompts.lintPrompt({ draft: { messages: [{ role: 'user', template: 'x' }] } });
  await times(300, read);
  const [measured, floor]: number[][] = [[], []];
  for (let i = 0; i < 2000; i++) {
    measured!.push(...(await times(1, read)));
    floor!.push(...(await times(1, bare)));
  }
  report.figure('label-read.p50', quantile(measured!, 0.5), 'ms');
  report.figure('label-read.p99', quantile(measured!, 0.99), 'ms');
  report.figure('bare-call.p50', quantile(floor!, 0.5), 'ms');
  report.ratio('label-read-over-bare-call', quantile(measured!, 0.5), quantile(floor!, 0.5), 'ms');
}

const variables = (i: number) => ({ question: `高血压怎么吃?${i}`, tone: '温和' });

/** As Invoke does it, per call: the stored version is read, its values are checked and put in their places. */
async function rendering(report: Report, prompts: Prompts, seed: bigint): Promise<void> {
  const random = randomOf(seed, 'rendering');
  const drafts = await Promise.all(
    Array.from({ length: 50 }, async () => {
      const version = `1.${Math.floor(random() * 20)}.0`;
      const reply = await prompts.getPrompt({ name: promptName(Math.floor(random() * 50)), version });
      const { messages, variables } = reply.version!;
      return storeDraft(create(PromptDraftSchema, { messages, variables }));
    }),
  );
  const once = (i: number) => render(loadDraft(drafts[i % drafts.length]!), variables(i), 262_144);
  for (let i = 0; i < 2000; i++) once(i);
  const measured: number[] = [];
  for (let i = 0; i < 5000; i++) {
    const at = performance.now();
    once(i);
    measured.push(performance.now() - at);
  }
  report.figure('render.p50', quantile(measured, 0.5), 'ms');
  report.figure('render.p99', quantile(measured, 0.99), 'ms');
}

async function pages(report: Report, prompts: Prompts, filled: Filled, seed: bigint): Promise<void> {
  let slowest = 0;
  for (const [name, filter] of Object.entries(filtersOf(filled, seed))) {
    const measured = await times(20, () => prompts.listInvocations({ ...filter(), pageSize: 50 }));
    report.figure(`page.${name}.p50`, quantile(measured, 0.5), 'ms');
    slowest = Math.max(slowest, quantile(measured, 0.5));
  }
  report.figure('page.slowest', slowest, 'ms');
}

/** Milliseconds of a stream from its last text to its end. */
async function tail(prompts: Prompts, requestId = ''): Promise<number> {
  let last = 0;
  const request = { requestId, name: promptName(0), version: '@production', deployment: 'bench' };
  for await (const { delta } of prompts.invoke({ ...request, variables: variables(0) })) {
    if (delta) last = performance.now();
  }
  return performance.now() - last;
}

async function streams(report: Report, prompts: Prompts, without: Prompts): Promise<void> {
  const { version } = await prompts.getPrompt({ name: promptName(0), version: '@production' });
  const { messages, variables } = version!;
  await without.createPrompt({ name: promptName(0), draft: { messages, variables } });
  await without.setLabel({ name: promptName(0), label: 'production', version: '1.0.0' });
  const kinds = {
    'with-log': () => tail(prompts),
    'without-log': () => tail(without),
    'with-request-id': () => tail(prompts, randomUUID()),
  };
  const measured = new Map(Object.keys(kinds).map((kind) => [kind, [] as number[]]));
  for (let round = 0; round < 13; round++) {
    for (const [kind, one] of Object.entries(kinds)) {
      const tails = await Promise.all(Array.from({ length: 16 }, one));
      // The first round warms up.
      if (round > 0) measured.get(kind)!.push(...tails);
    }
  }
  for (const [kind, tails] of measured) {
    report.figure(`stream-end.${kind}.p50`, quantile(tails, 0.5), 'ms');
    report.figure(`stream-end.${kind}.p99`, quantile(tails, 0.99), 'ms');
  }
  const p50 = (kind: string) => quantile(measured.get(kind)!, 0.5);
  report.ratio('stream-end-over-no-log', p50('with-log'), p50('without-log'), 'ms');
}
