import { createReadStream, existsSync } from 'node:fs';
import { appendFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Memory } from '../evaluation/evaluate.ts';

/** What an evaluation finds out, row by row as it comes, so that an interrupted one goes on behind its last row. */
export class AnswersFile<Value> implements Memory<Value> {
  readonly #file: string;
  readonly #known = new Map<number, Value>();

  private constructor(file: string) {
    this.#file = file;
  }

  /** Opens what was found out before under this name. A line that a kill has cut is left out. */
  static async open<Value>(folder: string, name: string): Promise<AnswersFile<Value>> {
    const answers = new AnswersFile<Value>(path.join(folder, `answers-${name}.jsonl`));
    await answers.#read();
    return answers;
  }

  /** Rows that are known. */
  get size(): number {
    return this.#known.size;
  }

  get(row: number): Value | undefined {
    return this.#known.get(row);
  }

  async set(row: number, value: Value): Promise<void> {
    await mkdir(path.dirname(this.#file), { recursive: true });
    // The line break comes first: behind a line that was cut, it keeps this one whole.
    await appendFile(this.#file, `\n${JSON.stringify([row, value])}`);
    this.#known.set(row, value);
  }

  async #read(): Promise<void> {
    if (!existsSync(this.#file)) return;
    const lines = createInterface({
      input: createReadStream(this.#file),
      crlfDelay: Number.POSITIVE_INFINITY,
    });
    for await (const line of lines) {
      try {
        const [row, value] = JSON.parse(line) as [number, Value];
        if (Number.isInteger(row) && value !== undefined) this.#known.set(row, value);
      } catch {
        // Cut by a kill: found out again.
      }
    }
  }
}
