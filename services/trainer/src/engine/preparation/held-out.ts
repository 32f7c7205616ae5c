import { NearDuplicates, sketchOf } from './near-duplicates.ts';
import { normalise, shinglesOf } from './shingles.ts';

/** Questions of validation sets, to be kept out of training. */
export class HeldOutQuestions {
  readonly #exact = new Map<string, string>();
  readonly #texts: { question: string; ref: string }[] = [];
  readonly #near: NearDuplicates;

  /** @param threshold Jaccard similarity from which two questions count as the same */
  constructor(threshold: number) {
    this.#near = new NearDuplicates(threshold, (id) => [shinglesOf(this.#texts[id]!.question)]);
  }

  add(question: string, ref: string): void {
    const key = normalise(question);
    if (this.#exact.has(key)) return;
    this.#exact.set(key, ref);
    const id = this.#texts.push({ question, ref }) - 1;
    this.#near.add(id, sketchOf([shinglesOf(question)]));
  }

  /** Where a question stands, for people; undefined where it stands nowhere. */
  find(question: string): string | undefined {
    if (this.#texts.length === 0) return undefined;
    const ref = this.#exact.get(normalise(question));
    if (ref !== undefined) return `its question is one of ${ref}`;
    const near = this.#near.find(sketchOf([shinglesOf(question)]));
    return near === undefined ? undefined : `its question is nearly one of ${this.#texts[near]!.ref}`;
  }
}
