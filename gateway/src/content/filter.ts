import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { injectionScore } from '@landfall/filtering/injection.ts';
import { WordList } from '@landfall/filtering/word-list.ts';
import type { Finding } from '@landfall/masking/mask.ts';
import type { Look } from '@landfall/masking/stream-guard.ts';
import { FilterAction, type FilterRule } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { type SieveAction, type SieveRule, sieveRule } from './category-sieve.ts';
import type { Judge } from './judge.ts';

const SIEVE_ACTIONS: Readonly<Partial<Record<FilterAction, SieveAction>>> = {
  [FilterAction.BLOCK]: 'block',
  [FilterAction.REDACT]: 'redact',
  [FilterAction.FLAG]: 'flag',
};

/** A filter of a policy, ready to look. */
export class Filter {
  readonly name: string;
  readonly blocks: boolean;
  /** A person decides. */
  readonly flags: boolean;
  /** A model that is asked; undefined where none is. */
  readonly judge: Judge | undefined;
  /** Its categories; undefined where it looks for none. */
  readonly sieve: SieveRule | undefined;
  readonly #words: WordList | undefined;
  readonly #threshold: number;

  /** @throws LandfallError INVALID_ARGUMENT that names the field */
  constructor(rule: FilterRule, forRequests: boolean, field: string) {
    const { name, words, homophones, injectionThreshold, categories, judge, action } = rule;
    if (words.length === 0 && injectionThreshold === 0 && categories.length === 0 && !judge) {
      throw invalidArgument(
        field,
        'looks for nothing; give words, categories, a judge or an injection_threshold',
      );
    }
    if (judge && action === FilterAction.REDACT) {
      throw invalidArgument(
        `${field}.judge`,
        'is for filters that block or flag: it names no place in a text',
      );
    }
    if (injectionThreshold > 0 && (!forRequests || action === FilterAction.REDACT)) {
      throw invalidArgument(`${field}.injection_threshold`, 'is for request_filters that block or flag');
    }
    const twice = categories.findIndex(
      (one, i) => categories.findIndex((other) => other.category === one.category) !== i,
    );
    if (twice >= 0)
      throw invalidArgument(`${field}.categories[${twice}]`, 'stands there twice; give one threshold');
    const empty = words.findIndex((word) => !/[\p{L}\p{N}]/u.test(word));
    if (empty >= 0)
      throw invalidArgument(`${field}.words[${empty}]`, 'has no letter, digit or Chinese character');
    this.name = name;
    this.blocks = action === FilterAction.BLOCK;
    this.flags = action === FilterAction.FLAG;
    this.judge = judge && { name, action: this.flags ? 'flag' : 'block', rule: judge };
    this.sieve = sieveRule(name, SIEVE_ACTIONS[action]!, categories);
    this.#words = words.length > 0 ? new WordList(words, { homophones }) : undefined;
    this.#threshold = injectionThreshold;
  }

  /** What was found, as findings that bear the filter's name. */
  find(text: string): Finding[] {
    const found = (this.#words?.find(text) ?? []).map(({ start, end }) => ({ type: this.name, start, end }));
    const taken = this.#threshold > 0 && injectionScore(text) >= this.#threshold;
    return taken ? [...found, { type: this.name, start: 0, end: text.length }] : found;
  }

  /**
   * Words that begin at a place of a text that goes on, or behind it, and where its settled part ends. Attempts at
   * injection are looked for in whole texts alone.
   */
  look(text: string, from: number): Look {
    if (!this.#words) return { found: [], settled: text.length };
    const { matches, settled } = this.#words.look(text, from);
    return { found: matches.map(({ start, end }) => ({ type: this.name, start, end })), settled };
  }
}
