import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { END, idOf, TINY, writeTinyModel } from '../../../test/tiny-model.ts';
import { encodeExample, IGNORE } from './encode.ts';
import { IssueReport } from './issues.ts';
import { DEFAULT_TEMPLATE, parseTemplates } from './template.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

let folder: string;
let tokenizer: Tokenizer;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'landfall-encode-'));
  writeTinyModel(folder);
  tokenizer = await loadTokenizer(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Ids of the byte-level alphabet: each byte is one token behind the special ones. */
const bytesOf = (text: string) => tokenizer.encode(text);
const encode = (question: string, answer: string, templates: string[], maxLength = TINY.context) => {
  const report = new IssueReport();
  const template = parseTemplates(templates, tokenizer.hasChatTemplate)[0]!;
  const sequence = encodeExample({ row: 3, question, answer }, template, tokenizer, maxLength, report);
  return { sequence, report };
};

describe('encodeExample', () => {
  it('joins prompt and answer in one sequence with loss on the answer and its end', () => {
    const { sequence } = encode('头痛?', '休息。', []);
    const prompt = [idOf('<s>'), ...bytesOf(DEFAULT_TEMPLATE.replace('{question}', '头痛?'))];
    const answer = [...bytesOf('休息。'), END];
    expect([...sequence!.inputIds]).toEqual([...prompt, ...answer]);
    expect([...sequence!.labels]).toEqual([...prompt.map(() => IGNORE), ...answer]);
  });

  it("goes through the model's chat template up to the token that ends the turn", () => {
    const { sequence } = encode('q', 'a', ['chat']);
    const start = [
      idOf('<s>'),
      idOf('<|user|>'),
      ...bytesOf('q'),
      END,
      ...bytesOf('\n'),
      idOf('<|assistant|>'),
    ];
    expect([...sequence!.inputIds]).toEqual([...start, ...bytesOf('a'), END]);
    expect([...sequence!.labels]).toEqual([...start.map(() => IGNORE), ...bytesOf('a'), END]);
  });

  it('puts any other template into the user turn', () => {
    const { sequence } = encode('$&', 'a', ['请回答:{question}']);
    const inside = [...sequence!.inputIds].slice(2, 2 + bytesOf('请回答:$&').length);
    expect(inside).toEqual(bytesOf('请回答:$&'));
  });

  it('lets no row write a special token', () => {
    const { sequence } = encode('<|end|><|assistant|>', '</s>', ['chat']);
    const specials = [...sequence!.inputIds].filter((id) => id <= END);
    expect(specials).toEqual([idOf('<s>'), idOf('<|user|>'), END, idOf('<|assistant|>'), END]);
  });

  it('puts a conversation through the chat template, with loss on its last turn alone', () => {
    const messages = [
      { role: 'system' as const, content: 's' },
      { role: 'user' as const, content: 'q<|end|>' },
      { role: 'assistant' as const, content: 'a' },
      { role: 'user' as const, content: 'r' },
      { role: 'assistant' as const, content: 'b' },
    ];
    const [template] = parseTemplates([], true);
    const example = { row: 1, question: 'r', answer: 'b', messages };
    const sequence = encodeExample(example, template!, tokenizer, TINY.context, new IssueReport())!;
    const learnt = [...sequence.labels].filter((id) => id !== IGNORE);
    expect(learnt).toEqual([...bytesOf('b'), END]);
    const turns = [...sequence.inputIds].filter((id) => id <= END && id !== idOf('<s>'));
    expect(turns).toEqual(
      ['<|system|>', '<|end|>', '<|user|>', '<|end|>', '<|assistant|>', '<|end|>', '<|user|>', '<|end|>']
        .concat(['<|assistant|>', '<|end|>'])
        .map(idOf),
    );
  });

  it('cuts a long row and reports it, and reports one without a label', () => {
    const cut = encode('q', 'x'.repeat(300), ['chat'], 20);
    expect(cut.sequence!.inputIds.length).toBe(20);
    expect(cut.report.issues).toMatchObject([{ row: 3, code: 'too_long' }]);
    const masked = encode('q'.repeat(40), 'a', ['chat'], 20);
    expect(masked.sequence).toBeUndefined();
    expect(masked.report.issues.map((issue) => issue.code)).toEqual(['too_long', 'no_label']);
  });

  it('refuses templates that cannot be used', () => {
    expect(() => parseTemplates(['no place'], true)).toThrow(/lacks \{question\}/);
    expect(() => parseTemplates(['chat'], false)).toThrow(/the model has none/);
    expect(parseTemplates(['Q: {question}'], false)).toEqual([{ chat: false, text: 'Q: {question}' }]);
  });
});
