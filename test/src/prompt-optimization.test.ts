import { randomInt } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { main } from '@landfall/deploy/cli/main.ts';
import { readLauncherConfig } from '@landfall/deploy/config.ts';
import { connectMesh, type MeshClients } from '@landfall/deploy/demo/clients.ts';
import { Mesh } from '@landfall/deploy/mesh/mesh.ts';
import { permutation, randomOf } from '@landfall/metrics/random.ts';
import { JobState } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import {
  OptimizationMove as Move,
  type Optimization,
} from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { patiently } from './patient.ts';
import { processesOf } from './processes.ts';

/** The least gain on held-out rows, in points of exact match. */
const GAIN = 20;
const POOR = '{text}。你怎么看?';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? randomInt(2 ** 31));

/** Subjects that the model has never seen beside a feeling: deploy/src/base-model/corpus.ts has eight others. */
const SUBJECTS = [
  ...[
    '这家超市',
    '这个公园',
    '这台电脑',
    '这辆汽车',
    '这首歌',
    '这杯咖啡',
    '这间教室',
    '这双鞋子',
    '这家酒店',
  ],
  ...['这场比赛', '这幅画', '这门课'],
];
const GOOD = ['非常好', '让人满意', '很有意思', '值得推荐', '比想象中还要好'];
const BAD = ['太差了', '让人失望', '很没意思', '不会再来', '比想象中差得多'];
const ROWS = 100;

let home: string;
let mesh: Mesh;
let environment: NodeJS.ProcessEnv;
let clients: MeshClients;

beforeAll(async () => {
  console.info(`LANDFALL_TEST_SEED=${seed}`);
  home = mkdtempSync(join(tmpdir(), 'landfall-optimise-'));
  const own = { ...process.env, LANDFALL_DATABASE_URL: '', LANDFALL_LOG_LEVEL: 'warn' };
  const config = readLauncherConfig({ LANDFALL_HOME: home, LANDFALL_GATEWAY_PORT: '0' });
  mesh = new Mesh({ ...config, environment: own });
  const { gateway, apiKey } = await mesh.start();
  clients = connectMesh(gateway, apiKey);
  environment = { LANDFALL_URL: gateway, LANDFALL_API_KEY: apiKey };
  const { version } = await clients.registry.importModel({
    name: 'landfall-chat-mini',
    folder: 'base-model',
  });
  const deployment = { name: 'base', model: version!.ref, replicas: 1, waitReady: true };
  await clients.balancer.deploy(deployment, { timeoutMs: 90_000 });
}, 120_000);
afterAll(async () => {
  await mesh.stop();
  // The mesh is found by its processes' environment, which only Linux shows.
  if (existsSync('/proc/self/environ')) expect(processesOf(home)).toEqual([]);
  rmSync(home, { recursive: true, force: true });
}, 60_000);

/** A data set in the registry: sentences with the feeling that they tell of. */
async function sentences(): Promise<string> {
  const all = SUBJECTS.flatMap((subject) => [
    ...GOOD.map((feeling) => ({ text: `${subject}${feeling}`, expected: '正面' })),
    ...BAD.map((feeling) => ({ text: `${subject}${feeling}`, expected: '负面' })),
  ]);
  const order = permutation(all.length, randomOf(BigInt(seed), 'rows'));
  const rows = [...order].slice(0, ROWS).map((i) => JSON.stringify(all[i]));
  const { registry } = clients;
  await registry.createModel({ name: 'feelings', kind: Kind.DATASET });
  const { version } = (await registry.createVersion({ name: 'feelings' })).version!;
  const header = { name: 'feelings', version, path: 'rows.jsonl' };
  await registry.putArtifact({ header, content: Buffer.from(rows.join('\n')) });
  return (await registry.commitVersion({ name: 'feelings', version })).version!.ref;
}

/** Follows an optimisation to its end; its watch breaks with the service that is killed. */
async function follow(id: string, seen: (optimization: Optimization) => void): Promise<Optimization> {
  for (;;) {
    let last: Optimization | undefined;
    try {
      for await (const { optimization } of clients.evaluation.watchOptimization({ id })) {
        last = optimization!;
        seen(last);
      }
    } catch {
      await delay(200);
    }
    if (last && last.state > JobState.RUNNING) return last;
  }
}

async function tell({ id, ...optimization }: Optimization): Promise<void> {
  const { tries } = await patiently(() =>
    clients.evaluation.listOptimizationTries({ optimizationId: id, pageSize: 500 }),
  );
  const { exampleRows, developmentRows, heldOutRows, testSet, seed: split } = optimization;
  console.info(
    `${testSet}: ${developmentRows} development rows, ${exampleRows} for examples, ${heldOutRows} held out (seed ${split})`,
  );
  for (const one of tries) {
    const { number, parent, move, reason, rows, score, outcome, draft, heldOutScore } = one;
    const held = heldOutScore === undefined ? '' : `, held out ${(100 * heldOutScore).toFixed(1)}`;
    const shown = draft!.messages.map(({ template }) => template.replaceAll('\n', '⏎')).join(' | ');
    console.info(
      `  try ${number} (${Move[move]} of ${parent}): ${(100 * score).toFixed(1)} on ${rows}${held}  ${shown}  ${reason}; ${outcome}`,
    );
  }
  console.info(optimization.conclusion);
}

/** What a command prints. */
async function command(...words: string[]): Promise<{ out: string; error: string }> {
  const written = { out: '', error: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((text: unknown) => {
      written[stream === 'stdout' ? 'out' : 'error'] += text;
      return true;
    }),
  );
  const code = await main(words, environment).finally(() => {
    for (const spy of spies) spy.mockRestore();
  });
  expect(code, written.error).toBe(0);
  return written;
}

test('from a poor prompt the optimiser gets at least 20 points better on held-out rows, with and without constraints', async () => {
  const { prompt, evaluation } = clients;
  const dataset = await sentences();
  await prompt.createPrompt({
    name: 'feeling',
    draft: { messages: [{ role: 'user', template: POOR }], sampling: { maxTokens: 16 } },
  });
  await prompt.setLabel({ name: 'feeling', label: 'production', version: '1.0.0' });
  const request = {
    ...{ name: 'feeling', version: '1.0.0', dataset, deployment: 'base', metric: 'exact_match' },
    ...{ seed: BigInt(seed), startOnly: true, budget: { maxCalls: 700, maxRounds: 3, maxSeconds: 600 } },
  };
  const free = { ...request, moves: [Move.INSTRUCTION, Move.EXAMPLES, Move.STRUCTURE] };
  const versions: string[] = [];
  for (const [what, asked] of Object.entries({ 'without constraints': free, 'all moves': request })) {
    const startMs = Date.now();
    const { id } = (await prompt.optimizePrompt(asked)).optimization!;
    let killed = what !== 'without constraints';
    const done = await follow(id, ({ calls, state }) => {
      if (killed || calls < 60 || state !== JobState.RUNNING) return;
      killed = true;
      console.info(`${what}: its service is killed after ${calls} answers`);
      process.kill(mesh.processes.prompt!, 'SIGKILL');
    });
    console.info(`${what}: ${((Date.now() - startMs) / 1000).toFixed(1)} s`);
    await tell(done);
    expect(done.state, done.failure).toBe(JobState.SUCCEEDED);
    expect(killed).toBe(true);
    const { first, second, rows } = done.heldOut!;
    expect(rows).toBeGreaterThanOrEqual(45);
    expect(100 * (second - first)).toBeGreaterThanOrEqual(GAIN);
    expect(done.calls).toBeLessThanOrEqual(700);
    versions.push(done.version);

    // What it says of the held-out rows is what an evaluation of all rows, made apart from it, comes to as well.
    const { version } = (await patiently(() => prompt.getPrompt({ name: 'feeling', version: done.version })))
      .version!;
    const measure = async (one: string) =>
      (await prompt.evaluatePrompt({ name: 'feeling', version: one, dataset, deployment: 'base' })).metrics
        .exact_match!;
    const [before, after] = [await measure('1.0.0'), await measure(version)];
    console.info(`all ${ROWS} rows: ${(100 * before).toFixed(1)} to ${(100 * after).toFixed(1)}`);
    expect(100 * (after - before)).toBeGreaterThanOrEqual(GAIN);
  }
  const { labels } = (await prompt.getPrompt({ name: 'feeling' })).prompt!;
  expect(labels).toEqual({ production: '1.0.0' });
  // The same over the command line, with its bars.
  const asked = ['--tests', 'feelings', '--deployment', 'base'];
  const compared = await command(
    'prompts',
    'compare',
    'feeling',
    '1.0.0',
    versions[0]!,
    ...asked,
    '--rows',
    '2',
  );
  console.info(`${compared.error}${compared.out}`);
  expect(compared.error).toContain(`100 %  feeling ${versions[0]}  100/100 rows`);
  expect(compared.out).toMatch(/exact_match +0\.\d+ +\d+\.\d+\.\d+ +\S+ +0\.\d+ +0\.\d+ to \S+ +100/);
  const moves = ['--move', 'structure', '--metric', 'exact_match', '--follow', '--rounds', '1'];
  const optimized = await command('prompts', 'optimize', 'feeling/1.0.0', ...asked, ...moves);
  expect(optimized.error).toMatch(/█+ +100 % +validate/);
  expect(optimized.out).toMatch(/^feeling\/\d+\.\d+\.\d+\nexact_match on 50 held-out rows went from/);
  const { optimizations } = await evaluation.listOptimizations({ name: 'feeling' });
  expect(optimizations.length).toBe(3);
}, 900_000);
