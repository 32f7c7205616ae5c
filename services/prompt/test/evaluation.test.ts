import { randomInt, randomUUID } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { invalidArgument, unavailable } from '@landfall/common/errors/errors.ts';
import { corpusBleu } from '@landfall/metrics/bleu.ts';
import { pairedBootstrap } from '@landfall/metrics/bootstrap.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { type Evaluation, JobState } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { invoked, type Replica, type Stage, stage } from './stage.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? randomInt(2 ** 31));
const random = randomOf(BigInt(seed), 'evaluation');
const ends = { finishReason: FinishReason.STOP, usage: { inputTokens: 10, outputTokens: 2 } };

/** How often each question was asked, and how many at once. */
const asked = new Map<string, number>();
let [inFlight, mostInFlight] = [0, 0];
/** Set while answers are held back. */
let gate: Promise<void> | undefined;

const questionOf = (request: Parameters<Replica>[0]) => request.messages.at(-1)!.content;

/** Adds, and errs where the sum can be divided by `bad`. */
const adder = (bad: number): Replica =>
  async function* (request, { signal }) {
    const question = questionOf(request);
    asked.set(question, (asked.get(question) ?? 0) + 1);
    mostInFlight = Math.max(mostInFlight, ++inFlight);
    try {
      if (gate) await Promise.race([gate, new Promise((end) => signal.addEventListener('abort', end))]);
      else await new Promise((done) => setTimeout(done, 1));
      const [a, b] = question.match(/\d+/g)!.map(Number) as [number, number];
      if (a === 13) throw invalidArgument('messages', 'has 9,999 tokens; at most 4,096 are taken');
      yield { model: request.model, delta: (a + b) % bad === 0 ? '不知道' : `${a + b}` };
      yield ends;
    } finally {
      inFlight--;
    }
  };

let failures = 0;
/** Away three times, then as good as the best. */
const flaky: Replica = async function* (request, context) {
  if (failures++ < 3) throw unavailable('starting');
  yield* adder(1000)(request, context);
};

/** Marks by what stands between the marks: a right sum is a 9, everything else a 2; the question 7 gets no mark. */
const strict: Replica = async function* (request) {
  const question = questionOf(request);
  const [, output] = /<answer>\n([\s\S]*)\n<\/answer>/.exec(question)!;
  const [a, b] = question.match(/\d+(?=加)|(?<=加)\d+/g)!.map(Number) as [number, number];
  const mark = a === 7 ? '说不好' : output === `${a + b}` ? '分数:9/10\n理由:算对了' : '2';
  yield { model: request.model, delta: mark };
  yield ends;
};

let at: Stage | undefined;

beforeAll(async () => {
  console.info(`LANDFALL_TEST_SEED=${seed}`);
  at = await stage({ third: adder(3), fifth: adder(5), flaky, strict });
  if (!at) return;
  const turns = (template: string) => ({ messages: [{ role: 'user', template }] });
  await at.prompts.createPrompt({ name: 'sum', draft: turns('{a}加{b}等于?') });
  await at.prompts.createVersion({ name: 'sum', draft: turns('请计算:{a}加{b}等于?') });
});
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
});

/** Rows with different sums, without the one that no replica takes. */
function sums(count: number): { a: string; b: string; expected: string; tags: string[] }[] {
  return Array.from({ length: count }, (_, i) => {
    const [a, b] = [100 + i, Math.floor(random() * 900)];
    return { a: `${a}`, b: `${b}`, expected: `${a + b}`, tags: [a % 2 ? 'odd' : 'even'] };
  });
}

const lines = (rows: readonly object[]) => rows.map((row) => JSON.stringify(row)).join('\n');

async function setOf(name: string, rows: readonly object[]): Promise<string> {
  return (await at!.evaluations.createTestSet({ name, source: { case: 'jsonLines', value: lines(rows) } }))
    .testSet!.ref;
}

async function allRows(evaluationId: string, filter: object = {}) {
  const rows = [];
  let pageToken = '';
  do {
    const page = await at!.evaluations.listEvaluationRows({
      evaluationId,
      pageSize: 7,
      pageToken,
      ...filter,
    });
    rows.push(...page.rows);
    pageToken = page.nextPageToken;
  } while (pageToken);
  return rows;
}

async function until(id: string, fits: (evaluation: Evaluation) => boolean): Promise<Evaluation> {
  for await (const { evaluation } of at!.evaluations.watchEvaluation({ id })) {
    if (fits(evaluation!)) return evaluation!;
  }
  throw new Error('the evaluation ended before');
}

test('versions of a test set never change: the same rows are the same version, others the next', async (t) => {
  if (!at) return t.skip();
  const { evaluations } = at;
  const rows = sums(25);
  const create = async (value: string) =>
    (await evaluations.createTestSet({ name: 'versions', source: { case: 'jsonLines', value } })).testSet!;
  const first = await create(lines(rows));
  expect(first).toMatchObject({ version: '1.0.0', rows: 25, tags: { odd: 12, even: 13 }, source: 'upload' });
  // Another order of the members, another spacing: the same rows.
  const turned = rows.map(({ a, b, expected, tags }) => ({
    tags,
    expected: [expected],
    variables: { b, a },
  }));
  expect(await create(`\ufeff${lines(turned)}\r\n\n`)).toEqual(first);
  const second = await create(lines(rows.slice(1)));
  expect([second.version, second.rows]).toEqual(['1.1.0', 24]);
  expect((await evaluations.getTestSet({ name: 'versions' })).testSet).toEqual(second);
  const { testSets } = await evaluations.listTestSets({ name: 'versions' });
  expect(testSets).toEqual([second, first]);
  const even = rows.flatMap(({ tags }, i) => (tags[0] === 'even' ? [i] : []));
  const found: number[] = [];
  let pageToken = '';
  do {
    const page = await evaluations.listTestSetRows({
      ...{ name: 'versions', version: '1.0.0', tag: 'even', pageSize: 4, pageToken },
    });
    for (const [i, number] of page.numbers.entries()) {
      expect(page.rows[i]!.variables).toEqual({ a: rows[number]!.a, b: rows[number]!.b });
    }
    found.push(...page.numbers);
    pageToken = page.nextPageToken;
  } while (pageToken);
  expect(found).toEqual(even);
});

test('rows that are wrong are named by number, with what is wrong', async (t) => {
  if (!at) return t.skip();
  const bad = [
    '{"a": "1", "expected": "x"}',
    'not json',
    '[1]',
    '{"variables": "x"}',
    '{"a": "1", "expected": {"x": 1}}',
    '{"a b": "1"}',
    '{"a": "1", "checks": [{"contains": {"texts": []}}]}',
    '{"a": "1", "checks": [{"length": {}}]}',
    '{"a": "1", "tags": ["x", "x"]}',
  ];
  const source = { case: 'jsonLines' as const, value: bad.join('\n') };
  const error = await at.evaluations.createTestSet({ name: 'bad', source }).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: status.INVALID_ARGUMENT, fieldViolations: [{ field: 'json_lines' }] });
  const { message } = error as Error;
  expect([...message.matchAll(/row (\d+):/g)].map(([, number]) => Number(number))).toEqual([
    2, 3, 4, 5, 6, 7, 8, 9,
  ]);
  expect(message).toMatch(
    /row 3: is not a JSON object.*row 6: 'a b' is not a name.*row 8: checks\[0\]\.length/,
  );
  const none = { name: 'bad', source: { case: 'jsonLines' as const, value: '\n\n' } };
  await expect(at.evaluations.createTestSet(none)).rejects.toThrow(/has no rows/);
  await expect(at.evaluations.getTestSet({ name: 'bad' })).rejects.toMatchObject({ code: status.NOT_FOUND });
});

test('an evaluation measures every row on every deployment, and what it says is what the rows say', async (t) => {
  if (!at) return t.skip();
  const rows = [...sums(40), { a: '13', b: '7', expected: '20', tags: ['odd'] }];
  const dataset = await setOf('measured', rows);
  [mostInFlight, inFlight] = [0, 0];
  const request = {
    ...{ requestId: randomUUID(), name: 'sum', version: '1.0.0', dataset, concurrency: 3 },
    ...{ deployment: 'third', deployments: ['fifth'] },
  };
  const { metrics, evaluation } = await at.prompts.evaluatePrompt(request);
  expect(mostInFlight).toBe(3);
  expect(evaluation).toMatchObject({
    state: JobState.SUCCEEDED,
    testSet: dataset,
    progress: { total: 82, done: 82, percent: 100 },
  });
  const right = (bad: number) =>
    rows.map(({ a, b }) => (a !== '13' && (Number(a) + Number(b)) % bad !== 0 ? 1 : 0) as number);
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [third, fifth] = evaluation!.results;
  expect(third!.metrics).toEqual(metrics);
  expect(metrics.exact_match).toBeCloseTo(mean(right(3)), 12);
  expect(fifth!.metrics.exact_match).toBeCloseTo(mean(right(5)), 12);
  expect(third).toMatchObject({ deployment: 'third', model: 'models:/third/1.0.0', rows: 41, failedRows: 1 });
  expect([third!.inputTokens, third!.outputTokens]).toEqual([400n, 80n]);
  const outputs = rows.map(({ a, expected }, i) => (a === '13' ? '' : right(3)[i] ? expected : '不知道'));
  const bleu = corpusBleu(
    outputs,
    rows.map(({ expected }) => [expected]),
    { tokenize: 'zh' },
  ).score;
  expect(metrics.bleu).toBeCloseTo(bleu, 10);
  for (const { tag, rows: count, metrics: own } of third!.tags) {
    const values = right(3).filter((_, i) => rows[i]!.tags[0] === tag);
    expect([count, own.exact_match]).toEqual([values.length, expect.closeTo(mean(values), 12)]);
  }
  const answers = await allRows(evaluation!.id, { deployment: 'third' });
  expect(answers.map(({ row, scores, error }) => [row, scores.exact_match, error !== ''])).toEqual(
    right(3).map((value, i) => [i, value, rows[i]!.a === '13']),
  );
  expect(answers.at(-1)!.error).toMatch(/at most 4,096/);
  const missed = await allRows(evaluation!.id, { metric: 'exact_match', below: 1 });
  const wrong =
    right(3).filter((value) => value === 0).length + right(5).filter((value) => value === 0).length;
  expect(missed.length).toBe(wrong);
  // The same token is the same job.
  const again = await at.prompts.evaluatePrompt(request);
  expect(again.evaluation).toEqual(evaluation);
});

test('checks of the rows, the output contract and a judge are metrics too', async (t) => {
  if (!at) return t.skip();
  const number = { kind: { case: 'regex' as const, value: '[0-9]+' } };
  const draft = { text: '{a}加{b}等于?', outputContract: number };
  await at.prompts.createPrompt({ name: 'held', draft });
  const check = (kind: object) => ({ length: { maximum: 3 }, ...kind });
  const rows = [
    {
      variables: { a: '1', b: '1' },
      expected: '2',
      checks: [check({}), { forbiddenWords: { words: ['2'] } }],
    },
    { variables: { a: '1', b: '2' }, expected: '3', checks: [check({})] },
    { variables: { a: '7', b: '1' }, expected: '8', tags: ['unmarked'] },
    { variables: { a: '400', b: '700' }, checks: [check({})] },
  ];
  const { metrics, evaluation } = await at.prompts.evaluatePrompt({
    ...{ name: 'held', deployment: 'third', dataset: await setOf('held', rows) },
    metrics: [
      { kind: { case: 'checks', value: {} } },
      { kind: { case: 'contract', value: {} } },
      { kind: { case: 'judge', value: { deployment: 'strict', rubric: '算得对不对' } } },
      { kind: { case: 'code', value: { kind: { case: 'exactMatch', value: {} } } } },
    ],
  });
  // 1+2 can be divided by 3: 不知道, whatever it is told, breaks the contract twice and is the answer all the same.
  const answers = await allRows(evaluation!.id);
  expect(answers.map(({ output }) => output)).toEqual(['2', '不知道', '8', '1100']);
  expect(answers.map(({ scores }) => scores)).toEqual([
    { checks: 0.5, contract: 1, judge: 9, exact_match: 1 },
    { checks: 1, contract: 0, judge: 2, exact_match: 0 },
    { contract: 1, exact_match: 1 },
    { checks: 0, contract: 1, judge: 9 },
  ]);
  expect(answers[0]!.reasons).toMatchObject({ checks: "forbidden_words: has '2'", judge: '算对了' });
  expect(answers[2]!.reasons).toMatchObject({ judge: 'the judge gave no mark' });
  expect(metrics).toEqual({
    ...{ checks: 0.5, contract: 0.75, judge: expect.closeTo(20 / 3, 10) },
    exact_match: expect.closeTo(2 / 3, 10),
  });
});

test('a deployment that is away for a moment is waited for', async (t) => {
  if (!at) return t.skip();
  const dataset = await setOf('waited', sums(5));
  const { metrics } = await at.prompts.evaluatePrompt({ name: 'sum', deployment: 'flaky', dataset });
  expect(metrics.exact_match).toBe(1);
  expect(failures).toBeGreaterThan(3);
});

test('what can not be evaluated is refused before anything is asked', async (t) => {
  if (!at) return t.skip();
  const { prompts } = at;
  asked.clear();
  const dataset = await setOf('refused', [
    { a: '1', expected: '1' },
    { a: '1', b: '2', c: '3', expected: '6' },
  ]);
  const request = { name: 'sum', deployment: 'third', dataset };
  await expect(prompts.evaluatePrompt(request)).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
  await expect(prompts.evaluatePrompt(request)).rejects.toThrow(
    /row 0: variables\.b: .*; row 1: variables\.c: /,
  );
  const fits = await setOf('unexpected', [{ variables: { a: '1', b: '2' } }]);
  await expect(prompts.evaluatePrompt({ ...request, dataset: fits })).rejects.toThrow(/metrics: name one/);
  const code = { case: 'code' as const, value: { kind: { case: 'exactMatch' as const, value: {} } } };
  const twice = {
    ...request,
    dataset: await setOf('plain', sums(2)),
    metrics: [{ kind: code }, { kind: code }],
  };
  await expect(prompts.evaluatePrompt(twice)).rejects.toThrow(/metrics\[1\]: 'exact_match' comes twice/);
  await expect(prompts.evaluatePrompt({ ...request, dataset: 'tests:/nobody' })).rejects.toMatchObject({
    code: status.NOT_FOUND,
  });
  await expect(prompts.evaluatePrompt({ ...request, dataset: '' })).rejects.toThrow(/carries no tests/);
  const away = { ...request, dataset: twice.dataset, deployment: 'nobody' };
  await expect(prompts.evaluatePrompt(away)).rejects.toThrow(/there is no deployment 'nobody'/);
  expect(asked.size).toBe(0);
});

test('a restart goes on with what is missing, and cancelling ends it', async (t) => {
  if (!at) return t.skip();
  const rows = sums(60);
  const dataset = await setOf('restarted', rows);
  asked.clear();
  const open = Promise.withResolvers<void>();
  const start = {
    name: 'sum',
    version: '1.0.0',
    deployment: 'third',
    dataset,
    startOnly: true,
    concurrency: 4,
  };
  const { id } = (await at.prompts.evaluatePrompt(start)).evaluation!;
  await until(id, ({ progress }) => progress!.done >= 8);
  gate = open.promise;
  await at.restart();
  const before = (await allRows(id)).map(({ row }) => row);
  expect(before.length).toBeGreaterThanOrEqual(8);
  gate = undefined;
  open.resolve();
  const done = await until(id, ({ state }) => state === JobState.SUCCEEDED);
  expect(done.progress).toMatchObject({ done: 60, total: 60 });
  expect((await allRows(id)).map(({ row }) => row)).toEqual(rows.map((_, i) => i));
  for (const row of before) expect(asked.get(`${rows[row]!.a}加${rows[row]!.b}等于?`)).toBe(1);

  const closed = Promise.withResolvers<void>();
  gate = closed.promise;
  const other = (await at.prompts.evaluatePrompt(start)).evaluation!.id;
  await until(other, ({ state }) => state === JobState.RUNNING);
  const cancelled = (await at.evaluations.cancelEvaluation({ id: other })).evaluation!;
  expect(cancelled.state).toBe(JobState.CANCELLED);
  gate = undefined;
  closed.resolve();
  expect((await at.evaluations.cancelEvaluation({ id: other })).evaluation).toEqual(cancelled);
  expect((await at.evaluations.getEvaluation({ id: other })).evaluation).toEqual(cancelled);
  const { evaluations } = await at.evaluations.listEvaluations({ name: 'sum', state: JobState.CANCELLED });
  expect(evaluations.map((one) => one.id)).toEqual([other]);
});

test('evaluations of the same rows are compared with intervals, others are not; gates look at them', async (t) => {
  if (!at) return t.skip();
  const { prompts, evaluations } = at;
  const rows = sums(50);
  const dataset = await setOf('compared', rows);
  const evaluate = async (version: string, deployment: string) =>
    (await prompts.evaluatePrompt({ name: 'sum', version, deployment, dataset })).evaluation!;
  const poor = await evaluate('1.0.0', 'third');
  const good = await evaluate('1.1.0', 'fifth');
  const { comparisons, rows: sideBySide } = await evaluations.compareEvaluations({
    evaluations: [{ id: poor.id }, { id: good.id }],
    ...{ seed: 7n, resamples: 500, maxRows: 10 },
  });
  const exact = comparisons[0]!.differences.find(({ metric }) => metric === 'exact_match')!;
  const over = (bad: number) => (chosen: Uint32Array) => {
    let sum = 0;
    for (const i of chosen) sum += (Number(rows[i]!.a) + Number(rows[i]!.b)) % bad === 0 ? 0 : 1;
    return sum / chosen.length;
  };
  const wanted = pairedBootstrap(over(3), over(5), { rows: 50, resamples: 500, seed: 7n });
  expect(exact).toMatchObject({ metric: 'exact_match', rows: 50, ...wanted });
  const gaps = sideBySide.map(({ answers }) =>
    Math.abs(answers[0]!.scores.exact_match! - answers[1]!.scores.exact_match!),
  );
  expect(gaps).toEqual([...gaps].sort((a, b) => b - a));
  const others = { name: 'sum', deployment: 'third', dataset: await setOf('elsewhere', sums(5)) };
  const elsewhere = (await prompts.evaluatePrompt(others)).evaluation!;
  const different = { evaluations: [{ id: poor.id }, { id: elsewhere.id }] };
  await expect(evaluations.compareEvaluations(different)).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
  });

  await prompts.setLabel({ name: 'sum', label: 'live', version: '1.1.0' });
  const where = { name: 'sum', label: 'live' };
  const value = poor.results[0]!.metrics.exact_match!;
  const gates = [
    { metric: 'exact_match', testSet: 'tests:/compared', minimum: value + 0.001 },
    { metric: 'exact_match', testSet: dataset, minimum: value, maxDrop: 1 },
    { metric: 'exact_match', testSet: dataset, maxDrop: 0, withConfidence: true },
    { metric: 'judge', testSet: dataset, minimum: 5 },
    { metric: 'exact_match', testSet: 'tests:/nobody', minimum: 0 },
    { metric: 'exact_match', testSet: dataset, deployment: 'fifth', minimum: 0 },
  ];
  await evaluations.setGates({ ...where, gates });
  const { passed, verdicts } = await evaluations.checkGates({ ...where, version: '1.0.0' });
  expect([passed, ...verdicts.map((verdict) => verdict.passed)]).toEqual([
    false,
    false,
    true,
    false,
    false,
    false,
    false,
  ]);
  expect(verdicts.map(({ message }) => message).join('\n')).toMatch(
    /at least .* is asked for\n\n.*interval.*\n.*has not been measured.*\n.*no test set.*\n.*by fifth; run/,
  );
  expect(verdicts[1]).toMatchObject({ value, evaluationId: poor.id });
  // A protected label asks for them when a second person approves its move.
  const target = { target: { case: 'prompt' as const, value: 'sum' } };
  await at.access.protectLabel({ target, label: 'live' });
  const { id } = (await at.access.requestLabelMove({ ...where, version: '1.0.0' })).move!;
  const second = { identity: { subject: 'user:second', tenant: 'acme', role: Role.ADMIN } };
  await expect(at.access.decideLabelMove({ id, approve: true }, second)).rejects.toMatchObject({
    ...{ code: status.FAILED_PRECONDITION, reason: 'GATE_NOT_PASSED' },
    message: expect.stringMatching(/exact_match on tests:\/compared: .* at least .* is asked for/),
  });
  await evaluations.setGates({
    ...where,
    gates: [{ metric: 'exact_match', testSet: dataset, minimum: value }],
  });
  await at.access.decideLabelMove({ id, approve: true }, second);
  expect((await prompts.getPrompt({ name: 'sum' })).prompt!.labels).toEqual({ live: '1.0.0' });
  await evaluations.setGates({ ...where, gates: [] });
  expect(await evaluations.checkGates({ ...where, version: '1.0.0' })).toMatchObject({
    passed: true,
    verdicts: [],
  });
  const nothing = { ...where, gates: [{ metric: 'bleu', testSet: dataset }] };
  await expect(evaluations.setGates(nothing)).rejects.toMatchObject({
    fieldViolations: [{ field: 'gates[0]' }],
  });
});

test('invocations that were found good become a test set', async (t) => {
  if (!at) return t.skip();
  const { prompts, evaluations } = at;
  const ids: string[] = [];
  for (const b of ['1', '2', '3', '2']) {
    const { invocation } = await invoked(at, {
      name: 'sum',
      deployment: 'fifth',
      variables: { a: '500', b },
    });
    ids.push(invocation.id);
  }
  for (const [i, value] of [9, 10, 3, 8].entries()) {
    await prompts.scoreInvocation({ invocationId: ids[i]!, score: { name: 'quality', value } });
  }
  const invocations = { prompt: 'sum', score: 'quality', minimum: 8 };
  const source = { case: 'invocations' as const, value: invocations };
  const { testSet } = await evaluations.createTestSet({ name: 'good', source });
  expect(testSet).toMatchObject({ rows: 2, source: 'prompts:/sum' });
  const { rows } = await evaluations.listTestSetRows({ name: 'good' });
  expect(rows).toMatchObject([
    { variables: { a: '500', b: '2' }, expected: ['502'] },
    { variables: { a: '500', b: '1' }, expected: ['501'] },
  ]);
  const none = {
    name: 'none',
    source: { case: 'invocations' as const, value: { ...invocations, minimum: 11 } },
  };
  await expect(evaluations.createTestSet(none)).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
});
