import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { notFound } from '@landfall/common/errors/errors.ts';
import { type PromptFile, PromptFileSchema } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import { checkDraft } from '../domain/draft.ts';
import { readPromptFile } from './prompt-file.ts';

const FOLDER = join(import.meta.dirname, '../../library');
let read: readonly PromptFile[] | undefined;

/** The ready prompts by name, read from their files once. */
export function libraryEntries(): readonly PromptFile[] {
  read ??= readdirSync(FOLDER)
    .filter((name) => name.endsWith('.prompt.md'))
    .map((name) => readPromptFile(readFileSync(join(FOLDER, name), 'utf8'), name))
    .map((file) => create(PromptFileSchema, { ...file, draft: checkDraft(file.draft!) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return read;
}

/** @throws LandfallError NOT_FOUND */
export function libraryEntry(name: string): PromptFile {
  const entry = libraryEntries().find((one) => one.name === name);
  if (!entry) {
    const names = libraryEntries().map((one) => one.name);
    throw notFound(`the library has no '${name.slice(0, 64)}'; it has ${names.join(', ')}`, {
      reason: 'ENTRY_NOT_FOUND',
    });
  }
  return entry;
}

export const originOf = ({ name, version }: PromptFile): string => `library:${name}/${version}`;
