/** How likely a given text is, through a server of OpenAI's API. */

import { status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { OpenAiBench } from './openai-bench.ts';
import { type Answer, echoes, echoLogprob, refuses } from './openai-server.ts';

const bench = new OpenAiBench();

describe('Score', () => {
  const score = (more: object = {}) =>
    bench.replica.client.score({ prompt: '天空是', completion: '蓝色的', ...more });
  const cannot = { code: status.FAILED_PRECONDITION, reason: 'BACKEND_CANNOT_SCORE' };

  test.each([
    ['a server that makes no token', echoes({ makes: 0 })],
    ['one that makes a token all the same', echoes({ makes: 1 })],
    ['one that refuses to make none', echoes({ makes: 1, least: 1 })],
    ['one whose prompt has a token of its own at its beginning', echoes({ makes: 1, begins: ['<s>'] })],
  ])('is the sum over the completion’s tokens by %s', async (_, answer) => {
    bench.server.answers = [answer];
    const found = await score();
    expect(found).toMatchObject({ model: 'models:/base/1.0.0', tokens: 3 });
    const expected = [...'蓝色的'].reduce((sum, token, i) => sum + echoLogprob(token, i + 3), 0);
    expect(found.logProbability).toBeCloseTo(expected, 9);
    expect(bench.server.asked.every(({ body }) => body.echo === true && body.temperature === 0)).toBe(true);
  });

  test('an adapter is asked for by its name, and named in the reply', async () => {
    bench.server.answers = [echoes({ makes: 0 })];
    expect(await score({ model: 'models:/medical-qa/1.0.0' })).toMatchObject({
      model: 'models:/medical-qa/1.0.0',
      tokens: 3,
    });
    expect(bench.server.asked.map(({ body }) => body.model)).toEqual(['medical-qa', 'medical-qa']);
  });

  test('a token across the border is the completion’s', async () => {
    bench.server.answers = [echoes({ makes: 0, joins: '是蓝' })];
    expect(await score()).toMatchObject({ tokens: 3 });
    const { logProbability } = await score();
    const expected = ['是蓝', '色', '的'].reduce((sum, token, i) => sum + echoLogprob(token, i + 2), 0);
    expect(logProbability).toBeCloseTo(expected, 9);
  });

  test('a failure that passes is tried again', async () => {
    bench.server.answers = [refuses(500), echoes({ makes: 0 })];
    expect(await score()).toMatchObject({ tokens: 3 });
    expect(bench.server.asked).toHaveLength(3);
  });

  const reply = (body: unknown): Answer => {
    return (response) => {
      response.setHeader('content-type', 'application/json');
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    };
  };
  test.each([
    ['has no completions', refuses(404), cannot],
    ['takes no echo', refuses(400, { param: 'echo' }), cannot],
    ['does not serve them', refuses(501), cannot],
    ['leaves echo out of account', echoes({ makes: 1, ignores: true }), cannot],
    [
      'gives no log-probabilities',
      reply({ choices: [{ text: 'x' }], usage: { prompt_tokens: 3, completion_tokens: 0 } }),
      cannot,
    ],
    [
      'gives null for all of them',
      reply({
        choices: [{ logprobs: { tokens: ['a', 'b'], token_logprobs: [null, null] } }],
        usage: { prompt_tokens: 2 },
      }),
      cannot,
    ],
    [
      'finds the text too long',
      refuses(400, { code: 'context_length_exceeded' }),
      { code: status.INVALID_ARGUMENT },
    ],
    ['sends no JSON', reply('{'), { code: status.UNAVAILABLE, reason: 'BACKEND_PROTOCOL' }],
    ['sends no choices', reply([]), { code: status.UNAVAILABLE, reason: 'BACKEND_PROTOCOL' }],
    [
      'sends without end',
      reply('x'.repeat(2 ** 21)),
      { code: status.UNAVAILABLE, reason: 'BACKEND_PROTOCOL' },
    ],
    ['is full', refuses(429, {}, { 'retry-after': '30' }), { code: status.RESOURCE_EXHAUSTED }],
  ])('a server that %s', async (_, answer, expected) => {
    bench.server.answers = [answer];
    await expect(score()).rejects.toMatchObject(expected);
  });

  test('of a chat is not to be had by text, and nothing is asked', async () => {
    const chat = { prompt: '', messages: [{ role: 'user', content: 'x' }] };
    await expect(score(chat)).rejects.toMatchObject(cannot);
    expect(bench.server.asked).toEqual([]);
  });

  test('of a text with personal data does not leave the house, in two parts neither', async () => {
    await using remote = await bench.start({ remote: true });
    const told = { code: status.FAILED_PRECONDITION, reason: 'PERSONAL_DATA' };
    for (const request of [
      { prompt: 'write to ', completion: 'zhang.wei@example.com' },
      { prompt: 'write to zhang.wei@', completion: 'example.com' },
    ])
      await expect(remote.client.score(request)).rejects.toMatchObject(told);
    expect(bench.server.asked).toEqual([]);
  });
});
