/** What rights and protections are kept for: a prompt, or a folder and all below it, as one text. */
export type Target = `prompts/${string}` | `folders/${string}`;

export const promptTarget = (name: string): Target => `prompts/${name}`;

/** @param folder path such as `medical/consultation`; '' is the whole library */
export const folderTarget = (folder: string): Target => `folders/${folder}`;

/** A folder and all above it, the nearest first. */
export function foldersUp(folder: string): Target[] {
  const parts = folder === '' ? [] : folder.split('/');
  return parts.map((_, i) => folderTarget(parts.slice(0, parts.length - i).join('/'))).concat('folders/');
}

/**
 * SQL that holds where the target of a folder covers a folder: it is that one, or stands above it.
 * @param target the column with the target
 * @param folder the column with the path
 */
export const coversFolderSql = (target: string, folder: string): string =>
  `(${target} = 'folders/' or substr('folders/' || ${folder} || '/', 1, length(${target}) + 1) = ${target} || '/')`;
