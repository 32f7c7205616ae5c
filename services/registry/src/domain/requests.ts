import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { Lineage, Manifest } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { DIGEST, type ManifestFile } from './manifest.ts';
import { checkFilePath } from './path.ts';

/** The files that a request names, checked. Throws INVALID_ARGUMENT. */
export function readManifest(manifest: Manifest | undefined): ManifestFile[] | undefined {
  if (!manifest) return undefined;
  const seen = new Set<string>();
  return manifest.files.map(({ path, digest, sizeBytes }, index) => {
    const field = `manifest.files[${index}]`;
    checkFilePath(path, `${field}.path`);
    if (seen.has(path)) throw invalidArgument(`${field}.path`, `'${path}' is named twice`);
    seen.add(path);
    if (!DIGEST.test(digest))
      throw invalidArgument(`${field}.digest`, 'write sha256: and 64 lower case hex digits');
    if (sizeBytes < 0n || sizeBytes > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw invalidArgument(`${field}.size_bytes`, 'the size is out of range');
    }
    return { path, digest, sizeBytes: Number(sizeBytes) };
  });
}

/** A lineage as given, without what says nothing: an empty message is no lineage. */
export function readLineage(lineage: Lineage | undefined): Lineage | undefined {
  if (!lineage) return undefined;
  readText('lineage.job_id', lineage.jobId);
  readText('lineage.method', lineage.method);
  lineage.datasets.forEach(({ digest, role }, index) => {
    readText(`lineage.datasets[${index}].role`, role);
    if (digest !== '' && !DIGEST.test(digest)) {
      throw invalidArgument(
        `lineage.datasets[${index}].digest`,
        'write sha256: and 64 lower case hex digits',
      );
    }
  });
  readText('lineage.source', lineage.source);
  for (const { role } of lineage.prompts) readText('lineage.prompts', role);
  const { base, parent, jobId, method, datasets, prompts, source } = lineage;
  const empty =
    !base && !parent && !jobId && !method && !source && datasets.length === 0 && prompts.length === 0;
  return empty ? undefined : lineage;
}

/** Labels of a version, by the rule that CreateModel states for those of a model. Throws INVALID_ARGUMENT. */
export function readLabels(labels: Record<string, string>): Record<string, string> {
  for (const [key, value] of Object.entries(labels)) {
    if (!/^[a-z0-9][a-z0-9._/-]{0,62}$/.test(key)) {
      throw invalidArgument(
        'labels',
        `the key ${JSON.stringify(key.slice(0, 80))} is not of a-z, 0-9, '.', '_', '/', '-'`,
      );
    }
    readText('labels', value);
    if (value.length > 256)
      throw invalidArgument('labels', `the value of '${key}' is longer than 256 characters`);
  }
  return labels;
}

/** Tags as they are kept: trimmed, in lower case, each once, in the order given. Throws INVALID_ARGUMENT. */
export function readTags(tags: readonly string[]): string[] {
  const read = tags.map((tag, index) => {
    const field = `tags[${index}]`;
    const text = readText(field, tag).trim().toLowerCase();
    if (text === '' || /\p{C}/u.test(text)) {
      throw invalidArgument(field, 'a tag is a word without control characters');
    }
    return text;
  });
  return [...new Set(read)];
}

/** Text for people or a name of the client's own. Throws INVALID_ARGUMENT for NUL, which no database keeps. */
export function readText(field: string, text: string): string {
  if (text.includes('\0')) throw invalidArgument(field, 'the text has a NUL character; leave it out');
  return text;
}

/** Metrics whose names can be used in filters and charts. Throws INVALID_ARGUMENT. */
export function readMetrics(metrics: Record<string, number>): Record<string, number> {
  for (const key of Object.keys(metrics)) {
    if (!/^[A-Za-z][A-Za-z0-9_./@-]{0,63}$/.test(key)) {
      const shown = JSON.stringify(key.slice(0, 80));
      throw invalidArgument(
        'metrics',
        `the name ${shown} is not of letters, digits, '_', '.', '/', '@', '-'`,
      );
    }
  }
  return metrics;
}
