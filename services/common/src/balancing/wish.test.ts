import { randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { GenerateRequestSchema } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { expect, test } from 'vitest';
import { generationWish, textsOf } from './wish.ts';

const identity = { subject: 'key:1', tenant: 'acme', role: Role.INVOKER };

test('every text of a request is looked at, in fields that this version does not know too', () => {
  const secret = randomBytes(6).toString('hex');
  const unknown = create(GenerateRequestSchema, { prompt: 'x' });
  unknown.$unknown = [{ no: 99, wireType: 2, data: Buffer.from(secret) }];
  const requests = [
    create(GenerateRequestSchema, { prompt: secret }),
    create(GenerateRequestSchema, { messages: [{ role: 'user', content: `a ${secret}` }] }),
    create(GenerateRequestSchema, { prompt: 'x', sampling: { stop: [secret] } }),
    create(GenerateRequestSchema, { prompt: 'x', constraint: { kind: { case: 'regex', value: secret } } }),
    unknown,
  ];
  for (const request of requests) expect(textsOf(request).some((text) => text.includes(secret))).toBe(true);
});

test('a text that may not leave keeps the whole request, and without a rule none leaves', () => {
  const request = create(GenerateRequestSchema, { messages: [{ role: 'user', content: 'x' }] });
  expect(generationWish(request, identity, () => true).mayLeave()).toBe(true);
  expect(generationWish(request, identity, (text) => text !== 'x').mayLeave()).toBe(false);
  expect(generationWish(request, identity, undefined).mayLeave()).toBe(false);
});

test('what a generation asks for is known from its text and options, and its keys from the model that answers', () => {
  const request = create(GenerateRequestSchema, {
    prompt: 'x'.repeat(4000),
    sampling: { maxTokens: 100, n: 3 },
  });
  const wish = generationWish(request, identity, undefined);
  const [one, two] = [wish.ask('models:/a/1.0.0'), wish.ask('models:/b/1.0.0')];
  expect(one).toMatchObject({ promptTokens: 1000, outputTokens: 300 });
  expect(one.prefixKeys.length).toBe(2);
  expect(one.prefixKeys).not.toEqual(two.prefixKeys);
});
