import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject } from '@bufbuild/protobuf';
import { Code, type ConnectError, createClient } from '@connectrpc/connect';
import { mask, PERSONAL_DATA_TYPES } from '@landfall/masking/mask.ts';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { PersonalDataAction } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { describe, expect, test } from 'vitest';
import {
  chat,
  content,
  everything,
  said,
  setPolicy,
  stage,
  streamed,
  transports,
  useContentMesh,
  user,
} from './content-mesh.ts';

const { MASK, BLOCK, PSEUDONYM, PASS } = PersonalDataAction;
const TEXT =
  '患者王建国,身份证号11010519491231002X,电话138 1234 5678,住址:浙江省杭州市西湖区文三路90号,邮箱zs@example.cn。';
const MASKED = mask(TEXT, { types: PERSONAL_DATA_TYPES }).text;

useContentMesh();

describe.each(Object.keys(transports))('%s', (name) => {
  test('requests and answers are masked, in streams and whole, in messages and variables', async (t) => {
    if (!stage.mesh) return t.skip();
    await setPolicy(everything(MASK));
    stage.says = TEXT;
    stage.pieceLength = 1;
    const text = createClient(TextInferenceService, transports[name]!());
    const messages = [
      { role: 'system', content: TEXT },
      { role: 'user', content: TEXT },
    ];
    let answer = '';
    for await (const part of text.generate({ model: 'qa', messages, sampling: { topLogprobs: 0 } })) {
      answer += part.delta;
      expect(part.logprobs).toEqual([]);
    }
    expect(answer).toBe(MASKED);
    expect(stage.seen).toEqual([`system: ${MASKED}`, `user: ${MASKED}`]);

    stage.seen = [];
    const prompts = createClient(PromptService, transports[name]!());
    const variables: JsonObject = {
      question: TEXT,
      list: [{ deep: '电话13812345678' }],
      phone: 13812345678,
      n: 3,
    };
    const hidden = { question: MASKED, list: [{ deep: '电话[PHONE]' }], phone: '[PHONE]', n: 3 };
    const { messages: rendered } = await prompts.renderPrompt({ name: 'p', version: '1.0.0', variables });
    expect(rendered[0]!.content).toBe(MASKED);
    const invoked = { delta: '', output: '' };
    for await (const { delta, reset, invocation } of prompts.invoke({
      name: 'p',
      version: '1.0.0',
      variables,
      deployment: 'qa',
    })) {
      invoked.delta = (reset ? '' : invoked.delta) + delta;
      invoked.output += invocation?.output ?? '';
    }
    expect(invoked).toEqual({ delta: MASKED, output: MASKED });
    expect(stage.seen.map((one) => JSON.parse(one))).toEqual([hidden, hidden]);
  });
});

test("OpenAI's API: every role and part, whole and streamed, however the model cuts its words", async (t) => {
  if (!stage.mesh) return t.skip();
  await setPolicy(everything(MASK));
  stage.says = TEXT;
  const messages = [
    { role: 'system', content: TEXT },
    { role: 'assistant', content: TEXT },
    { role: 'user', content: [{ type: 'text', text: TEXT }] },
  ];
  expect(await said(await chat(messages))).toBe(MASKED);
  expect(stage.seen).toEqual(['system', 'assistant', 'user'].map((role) => `${role}: ${MASKED}`));
  for (stage.pieceLength = 1; stage.pieceLength <= 8; stage.pieceLength++) {
    const { text, tokens } = await streamed(await chat(user('x'), { stream: true, logprobs: true }));
    expect(text).toBe(MASKED);
    expect(tokens).toBe('');
  }
});

test('pseudonyms stand for the same data throughout a tenant and are put back into the answer', async (t) => {
  if (!stage.mesh) return t.skip();
  await setPolicy(everything(PSEUDONYM));
  const question = '患者王建国的电话是13812345678,王建国复诊时间?';
  expect(await said(await chat(user(question)))).toBe(question);
  const [first] = stage.seen;
  const names = first!.match(/(?:PERSON|PHONE)_[0-9A-F]{8}/g)!;
  expect(names).toHaveLength(3);
  expect(names[0]).toBe(names[2]);
  expect(first).not.toContain('王建国');
  for (stage.pieceLength = 1; stage.pieceLength <= 8; stage.pieceLength++) {
    expect((await streamed(await chat(user(question), { stream: true }))).text).toBe(question);
  }
  expect(new Set(stage.seen)).toEqual(new Set([first]));
  // What the caller has not sent is masked, and names that were made up stay as they are.
  stage.says = `请联系李芳或PERSON_00000000,${names[0]}已预约。`;
  expect(await said(await chat(user(question)))).toBe('请联系[PERSON]或PERSON_00000000,王建国已预约。');
  stage.says = undefined;
  stage.seen = [];
  await setPolicy({ ...everything(PSEUDONYM), pseudonymGeneration: 2 });
  await said(await chat(user(question)));
  expect(stage.seen[0]).not.toContain(names[0]);
  expect(statSync(join(stage.mesh.database.folder, 'gateway', 'pseudonym.key')).mode & 0o777).toBe(0o600);
});

test('what must not pass is refused by its kind, before a model sees it or a caller is shown it', async (t) => {
  if (!stage.mesh) return t.skip();
  const { version } = await setPolicy(everything(BLOCK));
  const refused = await chat(user(TEXT));
  expect(refused.status).toBe(400);
  const { error } = (await refused.json()) as { error: { message: string; code: string } };
  expect(error.message).toContain('person, id_number, phone, address, email');
  expect(error.code).toBe('personal_data');
  expect(stage.seen).toEqual([]);
  stage.says = `好的。${TEXT}`;
  expect((await chat(user('你好'))).status).toBe(400);
  const { text, events } = await streamed(await chat(user('你好'), { stream: true }));
  expect(text).toBe('好的。患者');
  expect(events).toContain('personal_data');
  const text2 = createClient(TextInferenceService, transports.gRPC!());
  const call = async () => {
    for await (const _ of text2.generate({ model: 'qa', prompt: TEXT }));
  };
  await expect(call()).rejects.toMatchObject({ code: Code.FailedPrecondition });
  await expect(call()).rejects.toSatisfy(
    (cause) => !String((cause as ConnectError).message).includes('王建国'),
  );
  // The record stage.says by which version.
  const admin = createClient(AdminService, transports.gRPC!());
  const { entries } = await admin.searchAudit({});
  expect(entries.some(({ policyVersion }) => policyVersion === `content/${version!.version}`)).toBe(true);
});

test('the first rule that fits route and role decides; versions stay as they were made', async (t) => {
  if (!stage.mesh) return t.skip();
  const admin = createClient(AdminService, transports.gRPC!());
  const { secret } = await admin.createKey({ name: 'invoker', role: Role.INVOKER });
  const custom = { name: 'case_number', pattern: 'LF-\\d{4}', maxLength: 7 };
  const first = await setPolicy({
    customRules: [custom],
    rules: [
      { routes: ['POST /v1/*'], roles: ['admin'], requests: [{ types: ['phone'], action: PASS }] },
      { routes: ['POST /v1/*'], requests: [{ types: ['phone', 'case_number'], action: MASK }] },
    ],
  });
  const text = 'LF-1234 电话13812345678';
  await said(await chat(user(text)));
  await said(await chat(user(text), {}, secret));
  expect(stage.seen).toEqual([`user: ${text}`, 'user: [CASE_NUMBER] 电话[PHONE]']);
  const [before] = [first.version!.version];
  await setPolicy({});
  stage.seen = [];
  await said(await chat(user(text), {}, secret));
  await content().activateContentPolicy({ version: before });
  await said(await chat(user(text), {}, secret));
  expect(stage.seen).toEqual([`user: ${text}`, 'user: [CASE_NUMBER] 电话[PHONE]']);
  const { versions } = await content().listContentPolicies({});
  expect(versions[0]!.version).toBe(before + 1n);
  expect(versions.map(({ active }) => active).slice(0, 3)).toEqual([false, true, false]);
  expect((await content().getContentPolicy({ version: before })).version!.policy!.customRules).toMatchObject([
    custom,
  ]);
  await expect(content().activateContentPolicy({ version: 999n })).rejects.toMatchObject({
    code: Code.NotFound,
  });
  await expect(content(secret).setContentPolicy({ policy: {} })).rejects.toMatchObject({
    code: Code.PermissionDenied,
  });
});
