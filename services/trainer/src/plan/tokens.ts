import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { JobSpec } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { TrainerContext } from '../context.ts';
import { readRows } from '../domain/training-data.ts';
import { encodeExample } from '../engine/data/encode.ts';
import { IssueReport } from '../engine/data/issues.ts';
import { parseTemplates } from '../engine/data/template.ts';
import { loadTokenizer, type Tokenizer } from '../engine/data/tokenizer.ts';

/** What of a model a tokenizer is made from. */
const FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'generation_config.json',
  'config.json',
];
/** Rows that are counted; of more, evenly spread ones. */
const SAMPLE = 1000;

/**
 * Tokens that a job will train on, by its base's own tokenizer: rows in the mean of their templates, times epochs, with
 * the rows of earlier sets that are mixed in taken as long as its own.
 *
 * @param spec without gaps
 */
export async function tokensOfJob(
  service: TrainerContext,
  spec: JobSpec,
  options: CallOptions,
): Promise<number> {
  const { registry } = service;
  const base = await registry.ready(spec.baseModel, Kind.BASE, 'spec.base_model', options);
  const train = await registry.ready(spec.trainDataset, Kind.DATASET, 'spec.train_dataset', options);
  const { examples } = await readRows(registry, train, true, options);
  const tokenizer = await fetchTokenizer(service, base, options);
  const { instructionTemplates, maxLength, epochs } = spec.config!;
  const templates = parseTemplates(instructionTemplates, tokenizer.hasChatTemplate);
  const every = Math.max(1, Math.floor(examples.length / SAMPLE));
  const sample = examples.filter((_, i) => i % every === 0);
  const ignored = new IssueReport();
  let tokens = 0;
  for (const example of sample) {
    for (const template of templates)
      tokens += encodeExample(example, template, tokenizer, maxLength, ignored)?.inputIds.length ?? 0;
  }
  const perRow = tokens / sample.length / templates.length;
  const share = spec.replay?.share ?? 0;
  return Math.round((perRow * examples.length * epochs) / (1 - share));
}

async function fetchTokenizer(
  { registry, scratch }: TrainerContext,
  base: Version,
  options: CallOptions,
): Promise<Tokenizer> {
  await using folder = await scratch.folder('tokenizer');
  for (const name of FILES) {
    const content = await registry.read(base, name, options);
    if (content) await writeFile(path.join(folder.path, name), content);
  }
  return await loadTokenizer(folder.path);
}
