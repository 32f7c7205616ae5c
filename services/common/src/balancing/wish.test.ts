import { randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import {
  type GenerateRequest,
  GenerateRequestSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
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

test('an image leaves with no text, counts as many tokens, and its keys are its own', () => {
  const showing = (image: Uint8Array, content = 'x') =>
    create(GenerateRequestSchema, { messages: [{ role: 'user', content, images: [image] }] });
  const [one, other] = [randomBytes(300), randomBytes(300)];
  const wish = generationWish(showing(one), identity, () => true);
  expect(wish.mayLeave()).toBe(false);
  const asked = wish.ask('models:/a/1.0.0');
  expect(asked.promptTokens).toBeGreaterThan(500);
  expect(asked.prefixKeys).toHaveLength(2);
  const keys = (request: GenerateRequest) =>
    generationWish(request, identity, undefined).ask('models:/a/1.0.0').prefixKeys;
  expect(keys(showing(one, 'another question'))).toEqual(asked.prefixKeys);
  expect(keys(showing(other))[0]).not.toBe(asked.prefixKeys[0]);
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

const chat = (...contents: string[]) =>
  create(GenerateRequestSchema, {
    messages: [
      { role: 'system', content: 'you are brief' },
      ...contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content })),
    ],
  });
const placeOf = (request: GenerateRequest, subject = 'key:1') =>
  generationWish(request, { ...identity, subject }, undefined).place;

test('all turns of a conversation have one place, and so has a prompt that is asked again', () => {
  const first = placeOf(chat('a'));
  expect(placeOf(chat('a', 'b', 'c'))).toBe(first);
  expect(placeOf(chat('a', 'other answer', 'c', 'd', 'e'))).toBe(first);
  const prompt = create(GenerateRequestSchema, { prompt: 'a' });
  expect(placeOf(prompt)).toBe(placeOf(create(GenerateRequestSchema, { prompt: 'a' })));
});

test('what else differs has other places: conversations of one key, and one text of many keys', () => {
  const keys = Array.from({ length: 1000 }, (_, i) => `${i}`);
  const places = [
    keys.map((key) => placeOf(chat(key))),
    keys.map((key) => placeOf(create(GenerateRequestSchema, { prompt: key }))),
    keys.map((key) => placeOf(chat('a'), `key:${key}`)),
    keys.map(() => placeOf(chat('a'), 'service:prompt')),
  ];
  // A tenth of 1,000 each; six standard deviations are 57.
  for (const each of places) {
    for (let from = 0; from < 10; from++) {
      const count = each.filter((place) => Math.floor(place * 10) === from).length;
      expect(Math.abs(count - 100)).toBeLessThan(57);
    }
  }
});
