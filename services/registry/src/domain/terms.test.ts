import { expect, test } from 'vitest';
import { indexTerms, searchTerms } from './terms.ts';

const finds = (query: string, text: string): boolean => {
  const terms = indexTerms([text]);
  return searchTerms(query).every(({ term, prefix }) =>
    terms.some((one) => (prefix ? one.startsWith(term) : one === term)),
  );
};

test.each([
  ['medical', 'A Medical QA model', true],
  ['medic', 'A Medical QA model', true],
  ['edical', 'A Medical QA model', false],
  ['qa medical', 'A Medical QA model', true],
  ['me', 'A Medical QA model', false],
  ['0 qa', 'QA 0.5B', true],
  ['高血压', '关于高血压的问答', true],
  ['压的问', '关于高血压的问答', true],
  ['血', '关于高血压的问答', true],
  ['血高', '关于高血压的问答', false],
  ['lora 微调', '用LoRA微调的模型', true],
  ['ＬＯＲＡ', 'lora', true],
  ['qwen2.5', 'Qwen2.5-0.5B', true],
  ['', 'anything', true],
])('%j in %j: %s', (query, text, found) => {
  expect(finds(query, text)).toBe(found);
});

test('an endless text has a bounded index, and a long word a bounded term', () => {
  const words = Array.from({ length: 20_000 }, (_, i) => `w${i}`).join(' ');
  expect(indexTerms([words])).toHaveLength(4000);
  expect(indexTerms(['x'.repeat(500)])).toEqual(['x'.repeat(64)]);
  expect(finds('x'.repeat(500), 'x'.repeat(500))).toBe(true);
});
