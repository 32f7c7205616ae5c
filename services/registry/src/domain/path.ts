import { invalidArgument } from '@landfall/common/errors/errors.ts';

const MAX_PATH_BYTES = 512;
const MAX_SEGMENT_BYTES = 255;
const MAX_DEPTH = 16;

/**
 * Checks the path of a file within a version: relative, '/' between segments, and nothing that any system could
 * read as a way out of the folder it is later written to. Encoded forms are refused rather than decoded, since
 * whoever decodes once more would see another path. Returns the path; throws INVALID_ARGUMENT.
 */
export function checkFilePath(path: string, field = 'path'): string {
  const problem = pathProblem(path);
  if (problem) throw invalidArgument(field, `${problem}; give a relative path such as 'onnx/model.onnx'`);
  return path;
}

/** What is wrong with a path, or undefined. */
export function pathProblem(path: string): string | undefined {
  if (path === '') return 'the path is empty';
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `the path is longer than ${MAX_PATH_BYTES} bytes`;
  if (/\p{C}|\p{Zl}|\p{Zp}/u.test(path)) return 'the path has a control or invisible character';
  // A full-width or one-dot-leader form becomes '..' or '\' on a system that normalises names.
  for (const form of new Set([path, path.normalize('NFKC')])) {
    if (form.includes('\\')) return 'the path has a back slash';
    if (form.includes('%')) return "the path has a '%'";
    if (form.includes(':')) return "the path has a ':'";
    if (form.startsWith('/') || form.startsWith('~')) return 'the path is not relative';
    const segments = form.split('/');
    if (segments.length > MAX_DEPTH) return `the path is deeper than ${MAX_DEPTH} folders`;
    for (const segment of segments) {
      if (segment === '') return 'the path has an empty segment';
      if (/^[. ]+$/.test(segment)) return `the path has the segment '${segment}'`;
      if (Buffer.byteLength(segment) > MAX_SEGMENT_BYTES) {
        return `the path has a segment longer than ${MAX_SEGMENT_BYTES} bytes`;
      }
    }
  }
  return undefined;
}

/** Throws where one path of a version is also a folder of another, which no file system could hold. */
export function checkPathsFitTogether(paths: Iterable<string>): void {
  const files = new Set(paths);
  for (const path of files) {
    for (let cut = path.lastIndexOf('/'); cut > 0; cut = path.lastIndexOf('/', cut - 1)) {
      const folder = path.slice(0, cut);
      if (files.has(folder)) {
        throw invalidArgument(
          'path',
          `'${folder}' is a file and the folder of '${path}' at once; rename one`,
        );
      }
    }
  }
}
