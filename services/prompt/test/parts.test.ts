import { status } from '@grpc/grpc-js';
import { TemplateFormat } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stage, stage } from './stage.ts';

let at: Stage | undefined;
beforeAll(async () => {
  at = await stage({});
});
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
});

test('a prompt that puts another in by label follows the label and tells which version it was', async (t) => {
  if (!at) return t.skip();
  const { prompts } = at;
  await prompts.createPrompt({
    name: 'tone',
    draft: { text: '请用{style}的语气。', variables: [{ name: 'style', required: true }] },
  });
  await prompts.createVersion({
    name: 'tone',
    draft: { text: 'Be {style}.', variables: [{ name: 'style', required: true }] },
  });
  await prompts.setLabel({ name: 'tone', label: 'live', version: '1.0.0' });
  await prompts.createPrompt({ name: 'simple', draft: { text: '{> tone@live} {q}' } });
  await prompts.createPrompt({
    name: 'loops',
    draft: { format: TemplateFormat.JINJA, text: '{% if q %}{% include "simple/1.0.0" %}{% endif %}' },
  });
  const render = (name: string) => prompts.renderPrompt({ name, variables: { q: '{style}', style: '友好' } });
  const first = await render('loops');
  expect(first.messages[0]!.content).toBe('请用友好的语气。 {style}');
  expect(first.parts.map(({ reference, version }) => `${reference} ${version}`)).toEqual([
    'simple/1.0.0 1.0.0',
    'tone@live 1.0.0',
  ]);
  await prompts.setLabel({ name: 'tone', label: 'live', version: '1.1.0' });
  const second = await render('simple');
  expect([second.messages[0]!.content, second.parts[0]!.version]).toEqual(['Be 友好. {style}', '1.1.0']);
  await expect(prompts.renderPrompt({ name: 'loops', variables: { q: 'x' } })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    fieldViolations: [expect.objectContaining({ field: 'variables.style' })],
  });
});

test('circles, depth, many turns and what is not there are refused by name', async (t) => {
  if (!at) return t.skip();
  const { prompts } = at;
  const make = (name: string, text: string) => prompts.createPrompt({ name, draft: { text } });
  await expect(make('self', '{> self@x}')).rejects.toMatchObject({
    message: expect.stringContaining('self → self'),
  });
  await expect(make('away', '{> nowhere@x}')).rejects.toMatchObject({ code: status.NOT_FOUND });
  await make('a', 'x');
  await expect(make('b', '{> a@missing}')).rejects.toMatchObject({ code: status.NOT_FOUND });
  await prompts.setLabel({ name: 'a', label: 'live', version: '1.0.0' });
  await make('b', '{> a@live}');
  await prompts.setLabel({ name: 'b', label: 'live', version: '1.0.0' });
  await expect(prompts.createVersion({ name: 'a', draft: { text: '{> b@live}' } })).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
    message: expect.stringContaining('a → b → a'),
  });
  await make('d0', 'x');
  for (let i = 1; i <= 8; i++) await make(`d${i}`, `{> d${i - 1}/1.0.0}`);
  await expect(make('d9', '{> d8/1.0.0}')).rejects.toMatchObject({
    message: expect.stringContaining('more than 8 deep'),
  });
  await prompts.createPrompt({
    name: 'chat',
    draft: {
      messages: [
        { role: 'system', template: 's' },
        { role: 'user', template: 'u' },
      ],
    },
  });
  await expect(make('e', '{> chat/1.0.0}')).rejects.toMatchObject({
    message: expect.stringContaining('has 2 turns'),
  });
});

test('a circle that a moved label closes is refused when it is rendered', async (t) => {
  if (!at) return t.skip();
  const { prompts } = at;
  const label = (name: string, version: string) => prompts.setLabel({ name, label: 'now', version });
  await prompts.createPrompt({ name: 'left', draft: { text: 'x' } });
  await label('left', '1.0.0');
  await prompts.createPrompt({ name: 'right', draft: { text: '{> left@now}' } });
  await label('right', '1.0.0');
  await prompts.createPrompt({ name: 'middle', draft: { text: '{> right@now}' } });
  await label('middle', '1.0.0');
  await expect(
    prompts.createVersion({ name: 'left', draft: { text: '{> middle@now}' } }),
  ).rejects.toMatchObject({
    message: expect.stringContaining('left → middle → right → left'),
  });
  await prompts.createVersion({ name: 'right', version: '1.0.1', draft: { text: 'y' } });
  await label('right', '1.0.1');
  await prompts.createVersion({ name: 'left', version: '1.1.0', draft: { text: '{> middle@now}' } });
  await label('left', '1.1.0');
  await label('right', '1.0.0');
  await expect(prompts.renderPrompt({ name: 'left' })).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
    reason: 'PROMPT_CIRCLE',
  });
});
