import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import path from 'node:path';

/** A folder that is there until it is disposed of. */
export interface ScratchFolder extends AsyncDisposable {
  path: string;
}

/**
 * Folders for what is only made on the way. They lie in the service's own home under the process's id, so that what a
 * killed process has left is found by the next one and nothing else is.
 */
export class Scratch {
  readonly #root: string;
  readonly #own: string;

  /** @param home the service's folder; processes that share it must see each other's ids, and have one Scratch each */
  constructor(home: string) {
    this.#root = path.join(home, 'scratch');
    this.#own = path.join(this.#root, String(process.pid));
  }

  /** Removes what processes have left that are gone; an earlier one with this process's id is gone too. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.#root).catch(() => [])) {
      if (Number(name) !== process.pid && lives(Number(name))) continue;
      await rm(path.join(this.#root, name), { recursive: true, force: true });
    }
  }

  /** @param purpose begins the folder's name */
  async folder(purpose: string): Promise<ScratchFolder> {
    await mkdir(this.#own, { recursive: true });
    const folder = await mkdtemp(path.join(this.#own, `${purpose}-`));
    return {
      path: folder,
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
    };
  }
}

function lives(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A process of somebody else's can't be asked, but it is there.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
