import { balancedEpoch, type Showing } from '@landfall/graph/training/balanced.ts';
import { areApart, type PairKeys } from '@landfall/graph/training/pair-targets.ts';
import { permutation, randomOf } from '@landfall/metrics/random.ts';
import { firstApart } from './pairs.ts';

// Which pairs a batch holds is a function of the run's seed and the step, so a run that is resumed at any step goes on
// with the same pairs.

/** The shape of a run over pairs. */
export interface PairPlan {
  /** By row. */
  keys: readonly PairKeys[];
  epochs: number;
  /** Pairs a step. */
  batchSize: number;
  /** Each class as often as any other in an epoch. */
  balanced: boolean;
  seed: bigint;
}

/** Chooses the pairs of each step. What does not fill an epoch's last batch waits for another epoch's order. */
export class PairSampler {
  readonly batchSize: number;
  readonly stepsPerEpoch: number;
  readonly steps: number;
  readonly #plan: PairPlan;
  #last: { epoch: number; order: Showing[] } | undefined;

  /** @param plan with two pairs at least that are wrong answers to one another */
  constructor(plan: PairPlan) {
    this.#plan = plan;
    this.batchSize = Math.min(plan.batchSize, plan.keys.length);
    this.stepsPerEpoch = Math.floor(plan.keys.length / this.batchSize);
    this.steps = this.stepsPerEpoch * plan.epochs;
  }

  /** @param step from 0 */
  of(step: number): { epoch: number; showings: Showing[] } {
    const epoch = Math.floor(step / this.stepsPerEpoch);
    const from = (step % this.stepsPerEpoch) * this.batchSize;
    const showings = this.#order(epoch).slice(from, from + this.batchSize);
    return { epoch, showings: this.#withSomethingToTell(showings, step) };
  }

  #order(epoch: number): Showing[] {
    const { keys, balanced, seed } = this.#plan;
    if (this.#last?.epoch !== epoch) {
      const random = randomOf(seed, 'shuffle', epoch);
      const order = balanced
        ? balancedEpoch(
            keys.map(({ label }) => label),
            Math.floor(random() * 2 ** 32),
          )
        : [...permutation(keys.length, random)].map((row) => ({ row, before: 0 }));
      this.#last = { epoch, order };
    }
    return this.#last.order;
  }

  /** A batch in which all belong together teaches nothing: its last pair gives its place to one that is apart. */
  #withSomethingToTell(showings: Showing[], step: number): Showing[] {
    const { keys, seed } = this.#plan;
    if (firstApart(showings.map(({ row }) => keys[row]!))) return showings;
    const first = keys[showings[0]!.row]!;
    const begin = Math.floor(randomOf(seed, 'apart', step)() * keys.length);
    for (let i = 0; i < keys.length; i++) {
      const row = (begin + i) % keys.length;
      if (areApart(first, keys[row]!)) return [...showings.slice(0, -1), { row, before: 1 }];
    }
    // The first is apart from none.
    const two = firstApart(keys)!.map((row) => ({ row, before: 1 }));
    return [...showings.slice(0, -2), ...two];
  }
}
