import { matchesGlob } from 'node:path';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { pathProblem } from '../domain/path.ts';
import { checkFileName } from '../inspect/forbidden.ts';
import type { HubFile } from './client.ts';

/** What engines of the mesh read, and what says how a model may be used. */
const USEFUL = [
  /\.(json|txt|md|jinja|model|tiktoken|safetensors|onnx|onnx_data(_\d+)?|onnx\.data)$/i,
  /(^|\/)(licen[cs]e|notice|use_policy)[^/]*$/i,
];
/** Weights in another layout, beside those that are read. */
const OTHER_LAYOUTS = /(^|\/)(original|consolidated|metal|coreml|openvino)[^/]*(\/|\.safetensors$)/i;
const WEIGHTS = /\.(safetensors|onnx)$/i;

export type Choice = { files: HubFile[]; skipped: string[] };

/**
 * Which files of a repository are imported: those that match the patterns, or else all that the mesh can use. A
 * repository without weights in a format that is read is refused by the one that it has. Throws INVALID_ARGUMENT.
 */
export function chooseFiles(all: readonly HubFile[], include: readonly string[]): Choice {
  for (const { path } of all) {
    const problem = pathProblem(path);
    if (problem) throw invalidArgument('hub_id', `${problem}: ${JSON.stringify(path.slice(0, 200))}`);
  }
  const visible = all.filter(({ path }) => !path.split('/').some((segment) => segment.startsWith('.')));
  if (include.length > 0) {
    const files = visible.filter(({ path }) => include.some((pattern) => matchesGlob(path, pattern)));
    if (files.length === 0) throw invalidArgument('include', 'no file of the repository matches a pattern');
    for (const { path } of files) checkFileName(path, 'include');
    return { files, skipped: [] };
  }
  const files = visible.filter(
    ({ path }) => USEFUL.some((pattern) => pattern.test(path)) && !OTHER_LAYOUTS.test(path),
  );
  const chosen = new Set(files);
  const left = visible.filter((file) => !chosen.has(file));
  if (!files.some(({ path }) => WEIGHTS.test(path))) {
    // Says GGUF, pickle or what it is that the repository has instead.
    for (const { path } of left) checkFileName(path, 'hub_id');
    throw invalidArgument('hub_id', 'the repository has no weights as safetensors or ONNX');
  }
  return { files, skipped: left.map(({ path }) => path) };
}
