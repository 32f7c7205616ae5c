import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { writeJsonAtomically } from '../checkpoint/atomic-file.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import { readJsonObject } from '../checkpoint/read-json.ts';

/** What a tokenizer may consist of; those that the model folder has go along. */
const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'chat_template.jinja',
  'chat_template.json',
];

/**
 * Fills a new folder: `write` gets one beside it, which takes the name when all is written, so that the folder is there
 * whole or not at all.
 * @throws CheckpointError when the folder is there already and holds something
 */
export async function fillFolder<T>(out: string, write: (folder: string) => Promise<T>): Promise<T> {
  const target = resolve(out);
  if (existsSync(target)) {
    let entries: string[];
    try {
      entries = readdirSync(target);
    } catch {
      throw new CheckpointError(`${basename(target)} is there already and is not a folder; choose another`);
    }
    if (entries.length > 0)
      throw new CheckpointError(
        `the folder ${basename(target)} is there already and not empty; choose another`,
      );
  }
  mkdirSync(dirname(target), { recursive: true });
  const aside = join(dirname(target), `.${basename(target)}.${randomUUID()}.tmp`);
  mkdirSync(aside);
  try {
    const result = await write(aside);
    if (existsSync(target)) rmdirSync(target);
    renameSync(aside, target);
    return result;
  } catch (error) {
    rmSync(aside, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Copies the tokenizer's files and writes generation_config.json: the model's own, or else its special tokens as
 * transformers takes them from a configuration.
 * @returns whether the model has a tokenizer.json
 */
export function copyCompanions(from: string, to: string, config: Record<string, unknown>): boolean {
  for (const name of TOKENIZER_FILES) {
    if (existsSync(join(from, name))) copyFileSync(join(from, name), join(to, name));
  }
  const own = existsSync(join(from, 'generation_config.json'));
  const special = ['bos_token_id', 'eos_token_id', 'pad_token_id'].filter(
    (name) => config[name] !== undefined && config[name] !== null,
  );
  const generation = own
    ? readJsonObject(from, 'generation_config.json')
    : { _from_model_config: true, ...Object.fromEntries(special.map((name) => [name, config[name]])) };
  writeJsonAtomically(join(to, 'generation_config.json'), generation);
  return existsSync(join(from, 'tokenizer.json'));
}
