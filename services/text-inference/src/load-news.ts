/** What callers choose a replica by, of what changes while they read. */
export interface LoadNumbers {
  running: number;
  queued: number;
  /** Prompt tokens that wait. */
  queuedTokens: number;
  /** Mean time of a step in milliseconds; 0 for not known. */
  stepMs: number;
}

/** What a message tells of the load. */
export type LoadPart = 'whole' | 'numbers' | 'nothing';

/** Times that a step must take longer, or be faster, to be told of: callers compare replicas by it. */
const STEP = 1.05;

/**
 * How much of the replica's load each message of a stream carries. All of it comes with the first and the last one, and
 * when other beginnings of prompts are cached than were told; the numbers come when they have changed. With each token
 * the same would be told over and over, and the keys of what is cached are many times the token's own size. Callers choose
 * as well as with all of it each time (`npm run bench -- balance`); the first and the last alone cost 5 % of their p99.
 */
export class LoadNews {
  #numbers: LoadNumbers | undefined;
  #prefixes = -1;

  /** @param prefixes see PrefixSketch.version */
  next(numbers: LoadNumbers, prefixes: number, last: boolean): LoadPart {
    const whole = last || this.#numbers === undefined || prefixes !== this.#prefixes;
    if (!whole && !differ(this.#numbers!, numbers)) return 'nothing';
    this.#numbers = numbers;
    this.#prefixes = prefixes;
    return whole ? 'whole' : 'numbers';
  }
}

function differ(told: LoadNumbers, now: LoadNumbers): boolean {
  if (told.running !== now.running || told.queued !== now.queued) return true;
  if (told.queuedTokens !== now.queuedTokens) return true;
  const [fast, slow] = [Math.min(told.stepMs, now.stepMs), Math.max(told.stepMs, now.stepMs)];
  return slow > fast * STEP;
}
