import { createReadStream, existsSync } from 'node:fs';
import { appendFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** Answers of an evaluation as they come, so that an interrupted one goes on behind its last row. */
export class AnswersFile {
  readonly #file: string;

  constructor(folder: string, side: 'base' | 'tuned') {
    this.#file = path.join(folder, `answers-${side}.jsonl`);
  }

  /** Answers by row. A line that a kill has cut is left out. */
  async read(): Promise<Map<number, string>> {
    const known = new Map<number, string>();
    if (!existsSync(this.#file)) return known;
    const lines = createInterface({
      input: createReadStream(this.#file),
      crlfDelay: Number.POSITIVE_INFINITY,
    });
    for await (const line of lines) {
      try {
        const [row, output] = JSON.parse(line) as [number, string];
        if (Number.isInteger(row) && typeof output === 'string') known.set(row, output);
      } catch {
        // Cut by a kill: answered again.
      }
    }
    return known;
  }

  async append(row: number, output: string): Promise<void> {
    await mkdir(path.dirname(this.#file), { recursive: true });
    // The line break comes first: behind a line that was cut, it keeps this one whole.
    await appendFile(this.#file, `\n${JSON.stringify([row, output])}`);
  }
}
