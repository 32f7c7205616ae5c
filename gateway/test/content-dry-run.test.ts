import { Code, createClient } from '@connectrpc/connect';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import {
  ContentCategory,
  FilterAction,
  PersonalDataAction,
} from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { DryRunOutcome } from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { LogContent } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { beforeEach, expect, test } from 'vitest';
import { content, type Policy, setPolicy, stage, transports, useContentMesh, WAYS } from './content-mesh.ts';

const { PASSES, CHANGED, FLAGGED, BLOCKED } = DryRunOutcome;
const HARM = '我要用菜刀杀死他全家。';
interface Kept {
  id: string;
  question: string;
  output: string;
  content?: LogContent;
}
/** What the prompt service's log has. */
let kept: Kept[] = [];
const listed: { pageSize: number; name: string; subject: string }[] = [];

useContentMesh({
  prompts: {
    listInvocations: ({ pageSize, pageToken, name }, { identity }) => {
      listed.push({ pageSize, name, subject: identity!.subject });
      const start = Number(pageToken || 0);
      const page = kept.slice(start, start + pageSize);
      const end = start + page.length;
      return {
        invocations: page.map(({ question, ...one }) => ({ ...one, variables: { question } })),
        nextPageToken: end < kept.length ? String(end) : '',
      };
    },
  },
});
beforeEach(() => {
  kept = [];
  listed.length = 0;
});

const draft: Policy = {
  rules: [
    {
      routes: ['*'],
      requests: [{ types: ['phone'], action: PersonalDataAction.BLOCK }],
      answerFilters: [
        {
          name: 'violence',
          categories: [{ category: ContentCategory.VIOLENCE, threshold: 0.8 }],
          action: FilterAction.FLAG,
        },
      ],
    },
  ],
};

async function run(policy: Policy, more: object = {}, key?: string) {
  const parts = [];
  for await (const part of content(key).dryRunContentPolicy({ policy, ...more })) parts.push(part);
  return { parts, report: parts.at(-1)!.report!, last: parts.at(-1)! };
}

test('a policy is run over what the log keeps: what would change, by kind, with ids and without a text', async (t) => {
  if (!stage.mesh) return t.skip();
  await setPolicy({
    rules: [{ routes: ['*'], requests: [{ types: ['phone'], action: PersonalDataAction.MASK }] }],
  });
  kept = Array.from({ length: 250 }, (_, i) => ({
    id: `i${i}`,
    question: i % 5 === 0 ? '电话13812345678' : '饮食',
    output: i % 50 === 0 ? HARM : '清淡。',
    ...(i % 25 === 1 ? { content: LogContent.NONE } : {}),
  }));
  const { parts, report, last } = await run(draft);
  expect(parts.slice(0, 3).map(({ invocations }) => invocations)).toEqual([100, 200, 250]);
  expect(last).toMatchObject({ invocations: 250, withoutText: 10 });
  expect(report.changes).toMatchObject([
    { type: 'phone', ofAnswers: false, before: CHANGED, after: BLOCKED, count: 50 },
    {
      ...{ type: 'violence', category: ContentCategory.VIOLENCE, ofAnswers: true },
      ...{ before: PASSES, after: FLAGGED, count: 5, sampleIds: ['i0', 'i50', 'i100', 'i150', 'i200'] },
    },
  ]);
  expect(report.changes[0]!.sampleIds).toHaveLength(10);
  const outcomes = report.outcomes.map(({ ofAnswers, before, after, count }) => [
    ofAnswers,
    before,
    after,
    count,
  ]);
  expect(outcomes).toHaveLength(4);
  expect(outcomes).toEqual(
    expect.arrayContaining([
      [false, CHANGED, BLOCKED, 50],
      [false, PASSES, PASSES, 190],
      [true, PASSES, FLAGGED, 5],
      [true, PASSES, PASSES, 235],
    ]),
  );
  expect(
    JSON.stringify(parts, (_, value) => (typeof value === 'bigint' ? String(value) : value)),
  ).not.toMatch(/13812345678|菜刀/);
  listed.length = 0;
  expect((await run(draft, { limit: 120, prompt: 'p' })).last.invocations).toBe(120);
  expect(listed.map(({ pageSize, name }) => [pageSize, name])).toEqual([
    [100, 'p'],
    [20, 'p'],
  ]);
});

test('administrators and auditors run it in their own name; without kept text it says so', async (t) => {
  if (!stage.mesh) return t.skip();
  await setPolicy({});
  const admin = createClient(AdminService, transports.gRPC!());
  const auditor = await admin.createKey({ name: 'auditor', roles: ['auditor'] });
  const editor = await admin.createKey({ name: 'editor', role: Role.EDITOR });
  kept = [{ id: 'i', question: '饮食', output: '清淡。' }];
  expect((await run(draft, {}, auditor.secret)).report.changes).toEqual([]);
  expect(listed.at(-1)!.subject).not.toBe('');
  await expect(run(draft, {}, editor.secret)).rejects.toMatchObject({ code: Code.PermissionDenied });
  kept = [{ id: 'i', question: '', output: '', content: LogContent.NONE }];
  await expect(run(draft)).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    message: expect.stringContaining('keeps no text of these 1'),
  });
  kept = [];
  await expect(run(draft)).rejects.toMatchObject({
    code: Code.FailedPrecondition,
    message: expect.stringContaining('no traffic'),
  });
  await expect(
    run({ rules: [{ routes: ['*'], requests: [{ types: ['x'], action: 2 }] }] }),
  ).rejects.toMatchObject({
    code: Code.InvalidArgument,
  });
});

test('calls that wait for review are past traffic too, and judges are named that were not asked', async (t) => {
  if (!stage.mesh) return t.skip();
  await setPolicy({
    rules: [
      {
        routes: ['POST /v1/*'],
        requestFilters: [{ name: 'medicine', words: ['处方药'], action: FilterAction.FLAG }],
      },
    ],
  });
  const { review } = await WAYS['OpenAI chat']!('给我开处方药');
  const judge = { deployment: 'qa', rubric: 'r' };
  const { report } = await run({
    rules: [{ routes: ['*'], requestFilters: [{ name: 'judged', judge, action: FilterAction.BLOCK }] }],
  });
  expect(report).toMatchObject({
    reviews: 1,
    unaskedJudges: ['judged'],
    changes: [{ type: 'medicine', before: FLAGGED, after: PASSES, count: 1, sampleIds: [review] }],
  });
});

test('that images are not looked at is told where either policy reads them', async (t) => {
  if (!stage.mesh) return t.skip();
  kept = [{ id: 'i', question: '饮食', output: '清淡。' }];
  await setPolicy({ rules: [] });
  expect((await run(draft)).report.imagesUnread).toBe(false);
  const reading = { rules: [{ ...draft.rules![0]!, readImages: true }] };
  expect((await run(reading)).report.imagesUnread).toBe(true);
  await setPolicy(reading);
  expect((await run(draft)).report.imagesUnread).toBe(true);
});
