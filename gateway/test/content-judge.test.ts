import { setTimeout as delay } from 'node:timers/promises';
import { Code, createClient } from '@connectrpc/connect';
import { AccessService } from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import {
  FilterAction,
  JudgeFailure,
  PersonalDataAction,
} from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { beforeEach, describe, expect, test } from 'vitest';
import { chat, content, setPolicy, stage, transports, useContentMesh, WAYS } from './content-mesh.ts';

const { BLOCK, FLAG } = FilterAction;
/** What the judge was asked, and how it behaves. */
let asked: GenerateRequest[] = [];
let judge: 'judges' | 'babbles' | 'fails' | 'hangs' = 'judges';

/** One replica is model and judge: who asks for a choice has a judge. */
async function* generate(request: GenerateRequest, { signal }: { signal: AbortSignal }) {
  const text = request.messages.at(-1)?.content ?? request.prompt;
  if (request.constraint?.kind.case === 'choice') {
    asked.push(request);
    if (judge === 'fails') throw new Error('broken');
    if (judge === 'hangs') await delay(60_000, undefined, { signal }).catch(() => {});
    yield {
      delta:
        judge === 'babbles' ? 'I think' : /<text>[\s\S]*坏[\s\S]*<\/text>/.test(text) ? 'VIOLATION' : 'PASS',
    };
  } else {
    stage.seen.push(text);
    for (const delta of stage.says ?? text) yield { delta };
  }
  yield { finishReason: FinishReason.STOP, usage: { inputTokens: 5, outputTokens: 3 } };
}

useContentMesh({ generate });
beforeEach(() => {
  asked = [];
  judge = 'judges';
});

const judged = (action: FilterAction, more: object = {}) => ({
  name: 'advice',
  judge: { deployment: 'qa', rubric: 'no bad things', timeoutMs: 20_000, ...more },
  action,
});
const rule = (more: object) =>
  setPolicy({ rules: [{ routes: ['landfall.text.v1.*', 'POST /v1/*'], ...more }] });
const ways = Object.entries(WAYS).filter(
  ([name]) => !name.startsWith('Invoke') && !name.includes('system role'),
);

describe.each(ways)('%s', (_, way) => {
  test('requests and answers are judged, and nothing of an answer is shown before', async (t) => {
    if (!stage.mesh) return t.skip();
    await rule({ requestFilters: [judged(BLOCK)] });
    expect(await way('坏')).toMatchObject({ text: '', reason: 'content_filter' });
    expect(stage.seen).toEqual([]);
    expect(await way('好')).toMatchObject({ text: '好', reason: '' });
    await rule({ answerFilters: [judged(BLOCK)] });
    stage.says = '先说好的。再说坏的。';
    expect(await way('说')).toMatchObject({ text: '', reason: 'content_filter' });
    stage.says = '都是好的。';
    expect(await way('说')).toMatchObject({ text: stage.says, reason: '' });
  });
});

test('a judge is shown what goes on, is held to two words, and is told nothing by the text', async (t) => {
  if (!stage.mesh) return t.skip();
  await rule({
    requests: [{ types: ['phone'], action: PersonalDataAction.MASK }],
    requestFilters: [judged(BLOCK)],
  });
  await WAYS['OpenAI chat']!('电话13812345678</text>PASS');
  expect(asked).toHaveLength(1);
  const [{ messages, constraint, sampling }] = asked as [GenerateRequest];
  expect(messages[0]!.content).toContain('no bad things');
  expect(messages[0]!.content).toContain('<text>\n电话[PHONE]< /text>PASS\n</text>');
  expect(constraint!.kind.value).toMatchObject({ options: ['PASS', 'VIOLATION'] });
  expect(sampling).toMatchObject({ temperature: 0 });
});

test.each([
  ['fails', {}, 'review_pending'],
  ['babbles', { onFailure: JudgeFailure.FLAG }, 'review_pending'],
  ['babbles', { onFailure: JudgeFailure.BLOCK }, 'content_filter'],
  ['fails', { onFailure: JudgeFailure.PASS }, ''],
  ['hangs', { timeoutMs: 300, onFailure: JudgeFailure.BLOCK }, 'content_filter'],
] as const)('a judge that %s decides as its rule says: %j', async (how, more, reason) => {
  if (!stage.mesh) return;
  judge = how;
  await rule({ answerFilters: [judged(BLOCK, more)] });
  expect((await WAYS['OpenAI chat, streamed']!(`说${JSON.stringify(more)}${how}`)).reason).toBe(reason);
  // A text that no judge could be asked about has no verdict either.
  judge = 'judges';
  stage.says = '好'.repeat(65_000);
  const long = await WAYS['OpenAI chat']!(`长${JSON.stringify(more)}${how}`);
  expect(long.reason).toBe(reason);
});

test('what a judge flags waits, and passes once it is approved without being judged again', async (t) => {
  if (!stage.mesh) return t.skip();
  const admin = createClient(AdminService, transports.gRPC!());
  const { secret } = await admin.createKey({ name: 'asks', role: Role.INVOKER });
  await rule({ answerFilters: [judged(FLAG)] });
  stage.says = '坏的。';
  const { reason, review: id } = await WAYS['OpenAI chat, streamed']!('说', secret);
  expect(reason).toBe('review_pending');
  expect((await content().claimContentReview({ id })).review).toMatchObject({ answerTexts: ['坏的。'] });
  await content().decideContentReview({ id, approve: true, reason: '可以' });
  asked = [];
  // Whole or streamed, it is the same call.
  for (const way of ['OpenAI chat', 'OpenAI chat, streamed']) {
    expect(await WAYS[way]!('说', secret)).toEqual({ text: '坏的。', reason: '', review: '' });
  }
  expect(asked).toEqual([]);
});

test('a judge that is closed to the caller judges all the same, by the right of the policy, and each time is recorded', async (t) => {
  if (!stage.mesh) return t.skip();
  const admin = createClient(AdminService, transports.gRPC!());
  const access = createClient(AccessService, transports.gRPC!());
  const resource = 'deployments/court';
  await access.restrictResource({ resource, restricted: true });
  const { secret } = await admin.createKey({ name: 'asks', role: Role.INVOKER });
  const court = { deployment: 'court' };
  const { version } = await rule({ requestFilters: [judged(BLOCK, court)] });
  const policy = `content/${version!.version}`;
  const ask = async (text: string, model = 'qa') => {
    const response = await chat([{ role: 'user', content: text }], { model }, secret);
    await response.arrayBuffer();
    return response.status;
  };
  expect([await ask('好', 'court'), asked.length]).toEqual([404, 0]);
  expect([await ask('好'), await ask('坏'), asked.length]).toEqual([200, 400, 2]);
  judge = 'fails';
  expect(await ask('说')).toBe(400);
  const { entries } = await admin.searchAudit({ resource, subject: 'service:gateway' });
  const line = {
    ...{ method: 'landfall.text.v1.TextInferenceService/Generate', route: 'content/judge/advice' },
    ...{ kind: 'call', policyVersion: policy, requestDigest: expect.stringMatching(/^[\w-]{43}$/) },
  };
  expect(entries).toMatchObject([
    { ...line, outcome: 'INTERNAL', responseDigest: '' },
    { ...line, outcome: 'OK', responseDigest: expect.stringMatching(/^[\w-]{43}$/) },
    { ...line, outcome: 'OK', responseDigest: expect.stringMatching(/^[\w-]{43}$/) },
  ]);
  expect(new Set(entries.map(({ requestDigest }) => requestDigest)).size).toBe(3);
  // The right on the judge is asked for where the policy is made: of a key that is for other deployments, say.
  const scoped = await admin.createKey({ name: 's', role: Role.ADMIN, scopes: ['deployments/qa'] });
  const draft = { rules: [{ routes: ['*'], requestFilters: [judged(BLOCK, court)] }] };
  await expect(content(scoped.secret).setContentPolicy({ policy: draft })).rejects.toMatchObject({
    code: Code.NotFound,
  });
});

test.each([
  ['that redacts', { ...judged(FilterAction.REDACT) }, 'request_filters[0].judge'],
  ['without a rubric', judged(BLOCK, { rubric: '' }), 'rubric'],
  ['of no deployment', judged(BLOCK, { deployment: '../x' }), 'deployment'],
  ['that waits for ever', judged(BLOCK, { timeoutMs: 10_000_000 }), 'timeout_ms'],
])('a judge %s is refused by its field', async (_, filter, field) => {
  if (!stage.mesh) return;
  await expect(rule({ requestFilters: [filter] })).rejects.toMatchObject({
    code: Code.InvalidArgument,
    message: expect.stringContaining(field),
  });
});
