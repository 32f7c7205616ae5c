import { create } from '@bufbuild/protobuf';
import { ConfigError } from '@landfall/common/config/env.ts';
import { UsageSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { expect, test } from 'vitest';
import { costOf, readPrices } from './price.ts';

const usage = create(UsageSchema, { inputTokens: 3_000_000, cachedTokens: 1_000_000, outputTokens: 500_000 });
const read = (value: unknown) => readPrices('PRICES', JSON.stringify(value));

test('a version has its own price before its model’s, and that before any other’s', () => {
  const prices = read({
    currency: 'CNY',
    models: {
      'models:/qa/2.0.0': { input: 1, output: 1 },
      'models:/qa': { input: 2, cachedInput: 0.5, output: 8 },
      '*': { input: 10, output: 10 },
    },
  });
  const amount = (model: string) => costOf(prices, model, usage)?.amount;
  expect([amount('models:/qa/2.0.0'), amount('models:/qa/1.0.0'), amount('models:/other/1.0.0')]).toEqual([
    3.5, 8.5, 35,
  ]);
});

test('what has no price costs nothing that is told', () => {
  const prices = read({ currency: 'CNY', models: { 'models:/qa': { input: 1, output: 1 } } });
  expect(costOf(prices, 'models:/other/1.0.0', usage)).toBeUndefined();
  expect(costOf(prices, 'models:/qa/1.0.0', undefined)).toBeUndefined();
  expect(costOf(readPrices('PRICES', ''), 'models:/qa/1.0.0', usage)).toBeUndefined();
});

test.each([
  ['{', /PRICES.*not JSON/],
  ['[]', /PRICES.*currency/],
  ['{"currency":"yuan","models":{}}', /PRICES.*currency/],
  ['{"currency":"CNY","models":{"models:/qa":{"input":1}}}', /PRICES.*"output".*models:\/qa/],
  ['{"currency":"CNY","models":{"models:/qa":{"input":-1,"output":1}}}', /PRICES.*"input".*models:\/qa/],
  ['{"currency":"CNY","models":{"*":{"input":1,"output":1,"cachedInput":"x"}}}', /PRICES.*"cachedInput"/],
])('%s is refused by what is wrong in it', (text, why) => {
  expect(() => readPrices('PRICES', text)).toThrow(ConfigError);
  expect(() => readPrices('PRICES', text)).toThrow(why);
});
