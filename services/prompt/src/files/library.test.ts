import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, type JsonObject, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { validate } from '@landfall/common/rpc/validation.ts';
import type { PromptFile } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import { PromptFileSchema } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import { PromptTask, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { expect, test } from 'vitest';
import { checkOutput } from '../domain/output-contract.ts';
import { renderDraft } from '../domain/render.ts';
import { lint } from '../lint/lint.ts';
import { libraryEntries, libraryEntry, originOf } from './library.ts';
import { readPromptFile, writePromptFile } from './prompt-file.ts';

const entries = libraryEntries().map((entry) => [entry.name, entry] as const);

const filledExample = ({ draft }: PromptFile): JsonObject =>
  Object.fromEntries(draft!.variables.map(({ name, examples }) => [name, toJson(ValueSchema, examples[0]!)]));

test.each(entries)('%s: its filled example renders, its rows fit, and nothing is missing', (name, entry) => {
  validate(PromptFileSchema, entry);
  const draft = entry.draft!;
  const { messages, images } = renderDraft(draft, filledExample(entry), 100_000);
  expect(messages.map(({ role }) => role)).toEqual(['system', 'user']);
  const text = messages.map(({ content }) => content).join('\n');
  for (const { output } of draft.fewShot!.examples) expect(text).toContain(output);
  expect(text).not.toMatch(/\{[a-z_]+\}/);
  expect(images).toHaveLength(draft.variables.filter(({ type }) => type === VariableType.IMAGE).length);
  for (const row of draft.tests) {
    renderDraft(draft, row.variables!, 100_000);
    if (draft.outputContract) expect(checkOutput(draft.outputContract, row.expected).problems).toEqual([]);
  }
  expect(lint(draft, PromptTask.UNSPECIFIED)).toEqual({ findings: [], task: entry.task });
  expect(entry.language).toBe(name.slice(-2));
});

test.each(entries)('%s: its file says what its name does and holds what it is read as', (name, entry) => {
  const file = readFileSync(join(import.meta.dirname, '../../library', `${name}.prompt.md`), 'utf8');
  const read = readPromptFile(file, name);
  expect(read.name).toBe(name);
  expect(readPromptFile(writePromptFile(entry), name)).toEqual(create(PromptFileSchema, entry));
});

test('each kind is there in Chinese and in English', () => {
  const kinds = [
    'chain-of-thought',
    'classification',
    'extraction',
    'generation',
    'inspection-report',
    'self-consistency',
  ];
  expect(entries.map(([name]) => name)).toEqual(kinds.flatMap((kind) => [`${kind}-en`, `${kind}-zh`]));
  expect(originOf(libraryEntry('extraction-zh'))).toBe('library:extraction-zh/1.0.0');
  expect(() => libraryEntry('poems')).toThrow("the library has no 'poems'; it has chain-of-thought-en");
});
