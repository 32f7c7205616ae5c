import type { KindName } from '../db/entities.ts';
import { checkDataset, type DatasetSummary } from '../inspect/dataset.ts';
import type { InspectedFile } from '../inspect/source.ts';
import { type Facts, readFacts } from './facts.ts';
import { type Readme, readReadme } from './readme.ts';

/** What the files of a version say of it. */
export type Description = { facts: Facts; readme: Readme };

/** @param summary of a data set's rows, as the inspection saw them */
export async function describeFiles(
  kind: KindName,
  files: readonly InspectedFile[],
  summary?: DatasetSummary,
): Promise<Description> {
  const seen = summary ?? (kind === 'dataset' ? await checkDataset(files) : undefined);
  return { facts: await readFacts(kind, files, seen), readme: await readReadme(files) };
}
