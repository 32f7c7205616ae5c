import { constants, type Dirent } from 'node:fs';
import { type FileHandle, open, readdir, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import { pathProblem } from './path.ts';

export type ImportLimits = { maxFiles: number; maxBytes: number; maxDepth: number };

/** A file to import: its path within the version, and the place on disk that it really is at. */
export type ImportFile = { path: string; realPath: string; sizeBytes: number };

/**
 * The files below a folder under the import root, sorted by path. Names that begin with a dot (.git, .cache,
 * .gitattributes) are left out. A symbolic link is followed only to a regular file under the root, which is how the
 * Hugging Face cache lays out a snapshot; a link to a folder, or out of the root, is refused, and so is anything
 * that is neither a file nor a folder. Throws INVALID_ARGUMENT; nothing outside the root is opened.
 */
export async function listImport(root: string, folder: string, limits: ImportLimits): Promise<ImportFile[]> {
  if (root === '') {
    throw failedPrecondition(
      'this registry has no import root; start it with LANDFALL_IMPORT_ROOT, or upload the files',
      {
        reason: 'NO_IMPORT_ROOT',
      },
    );
  }
  const realRoot = await realpath(root).catch(() => {
    throw failedPrecondition('the import root of this registry does not exist; create it', {
      reason: 'NO_IMPORT_ROOT',
    });
  });
  const start = await insideRoot(realRoot, folder);
  const files: ImportFile[] = [];
  let totalBytes = 0;

  const visit = async (at: string, prefix: string, depth: number): Promise<void> => {
    if (depth > limits.maxDepth) throw refused(`'${prefix}' is deeper than ${limits.maxDepth} folders`);
    for (const entry of await readdir(at, { withFileTypes: true })) {
      if (entry.name.startsWith('.')) continue;
      const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
      const problem = pathProblem(path);
      if (problem) throw refused(`${problem}: ${JSON.stringify(path)}`);
      const full = join(at, entry.name);
      if (entry.isDirectory()) {
        await visit(full, path, depth + 1);
        continue;
      }
      const realPath = await regularFile(realRoot, full, path, entry);
      const { size } = await stat(realPath);
      files.push({ path, realPath, sizeBytes: size });
      totalBytes += size;
      if (files.length > limits.maxFiles) throw refused(`it holds more than ${limits.maxFiles} files`);
      if (totalBytes > limits.maxBytes) throw refused(`it holds more than ${limits.maxBytes} bytes`);
    }
  };
  await visit(start, '', 1);
  if (files.length === 0) throw refused('it holds no files');
  return files.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

/**
 * Opens a listed file, and checks behind the open that it is what was listed: a regular file under the root. A link
 * that took its place since then is not followed.
 */
export async function openImport(root: string, file: ImportFile): Promise<FileHandle> {
  let handle: FileHandle;
  try {
    handle = await open(file.realPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    throw refused(`'${file.path}' changed while it was imported`);
  }
  const sound = (await handle.stat()).isFile() && (await isWithin(await realpath(root), file.realPath));
  if (sound) return handle;
  await handle.close();
  throw refused(`'${file.path}' changed while it was imported`);
}

async function insideRoot(realRoot: string, folder: string): Promise<string> {
  const problem = folder === '.' ? undefined : pathProblem(folder.replace(/^\.\//, '').replace(/\/$/, ''));
  if (problem) throw refused(problem);
  const wanted = join(realRoot, folder);
  const real = await realpath(wanted).catch(() => undefined);
  const isFolder = real !== undefined && under(realRoot, real) && (await stat(real)).isDirectory();
  // One answer for all, so that nobody learns what lies outside.
  if (!isFolder) throw refused('there is no such folder under the import root');
  return real;
}

async function regularFile(realRoot: string, full: string, path: string, entry: Dirent): Promise<string> {
  if (entry.isFile()) return full;
  if (!entry.isSymbolicLink()) throw refused(`'${path}' is neither a file nor a folder`);
  if (!(await isWithin(realRoot, full)))
    throw refused(`the link '${path}' leads out of the import root or nowhere`);
  const real = await realpath(full);
  if (!(await stat(real)).isFile())
    throw refused(`the link '${path}' leads to a folder; put the files there themselves`);
  return real;
}

async function isWithin(realRoot: string, path: string): Promise<boolean> {
  const real = await realpath(path).catch(() => undefined);
  return real !== undefined && under(realRoot, real);
}

function under(realRoot: string, real: string): boolean {
  return real === realRoot || real.startsWith(realRoot.endsWith(sep) ? realRoot : realRoot + sep);
}

function refused(description: string) {
  return invalidArgument('folder', description);
}
