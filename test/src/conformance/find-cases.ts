import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** What a case checks. */
export type CaseKind = 'forward' | 'greedy' | 'training' | 'merged' | 'bleu' | 'nf4';

/** A case on disk. */
export interface Case {
  /** Folder and kind, `llama-lora/training`. */
  name: string;
  kind: CaseKind;
  folder: string;
  /** The file that says what is expected. */
  file: string;
}

/** Files of a model or case folder that never are metric cases. */
const KNOWN = new Set([
  'config.json',
  'generation_config.json',
  'expected_forward.json',
  'expected_training.json',
  'expected_merged.json',
  'adapter_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'preprocessor_config.json',
]);

/** Every case under a folder, by the files in it and in all folders below, in order of name. */
export function findCases(root: string): Case[] {
  const cases: Case[] = [];
  visit(path.resolve(root), path.resolve(root), cases);
  return cases.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

function visit(root: string, folder: string, cases: Case[]): void {
  const relative = path.relative(root, folder).split(path.sep).join('/');
  const name = relative === '' ? path.basename(root) : relative;
  const add = (kind: CaseKind, file: string, label: string = kind) =>
    cases.push({ name: `${name}/${label}`, kind, folder, file: path.join(folder, file) });

  const entries = readdirSync(folder, { withFileTypes: true });
  for (const entry of entries) {
    if (entry.isDirectory()) visit(root, path.join(folder, entry.name), cases);
  }
  const files = new Set(entries.filter((entry) => entry.isFile()).map((entry) => entry.name));
  if (files.has('expected_forward.json')) {
    add('forward', 'expected_forward.json');
    if (hasKey(path.join(folder, 'expected_forward.json'), 'greedy')) add('greedy', 'expected_forward.json');
  }
  if (files.has('expected_training.json')) add('training', 'expected_training.json');
  if (files.has('expected_merged.json')) add('merged', 'expected_merged.json');
  for (const file of files) {
    if (!file.endsWith('.json') || KNOWN.has(file) || file.endsWith('.index.json')) continue;
    const kind = metricKind(path.join(folder, file));
    if (kind) add(kind, file, file.slice(0, -'.json'.length));
  }
}

function hasKey(file: string, key: string): boolean {
  return key in (JSON.parse(readFileSync(file, 'utf8')) as object);
}

/** Metric files are told by their content, as their names are free. */
function metricKind(file: string): 'bleu' | 'nf4' | undefined {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
  const first: unknown = Array.isArray(content) ? content[0] : content;
  if (typeof first !== 'object' || first === null) return undefined;
  if ('hypotheses' in first) return 'bleu';
  return 'absmax' in first && 'packed' in first ? 'nf4' : undefined;
}

/** The folder of the model that a case builds on: a neighbour of the case's own folder. */
export function baseFolder(caseFolder: string, base: string): string {
  for (const candidate of [path.join(caseFolder, '..', base), path.join(caseFolder, base)]) {
    if (existsSync(path.join(candidate, 'config.json'))) return path.resolve(candidate);
  }
  throw new Error(`its base model ${JSON.stringify(base)} is not beside it`);
}
