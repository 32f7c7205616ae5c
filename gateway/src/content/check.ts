import { failedPrecondition, type LandfallError } from '@landfall/common/errors/errors.ts';
import {
  type Finding,
  findAll,
  type PersonalDataType,
  placeholder,
  replaced,
} from '@landfall/masking/mask.ts';
import type { CompiledRule } from '@landfall/masking/rules.ts';
import { openFrom, settledBefore } from '@landfall/masking/settled.ts';
import type { Look } from '@landfall/masking/stream-guard.ts';
import { PersonalDataAction } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { CategorySieve } from './category-sieve.ts';
import type { Filter } from './filter.ts';
import type { Judge } from './judge.ts';
import type { Vault } from './pseudonyms.ts';

/** What is looked for in texts of one direction. */
export interface LookFor {
  actions: ReadonlyMap<string, PersonalDataAction>;
  types: ReadonlySet<PersonalDataType>;
  rules: readonly CompiledRule[];
  filters: readonly Filter[];
}

/** What becomes of a whole text. */
export interface Sifted {
  /** As it may go on, where nothing is blocked. */
  text: string;
  /** Kinds and filters that do not let it pass. */
  blocked: readonly string[];
  /** Filters by which a person has to decide. */
  flagged: readonly string[];
}

/** What becomes of a whole text that can only be covered. */
export interface Weighed {
  blocked: readonly string[];
  flagged: readonly string[];
  /** What must not be seen, where nothing is blocked. */
  covered: readonly Finding[];
}

/** Looks at texts of one direction, and says what becomes of what it finds. */
export class Check {
  readonly #for: LookFor;
  readonly #flags: readonly Filter[];
  /** What looks for categories; undefined where no filter does. */
  readonly sieve: CategorySieve | undefined;
  /** Models that are asked about what may pass otherwise. */
  readonly judges: readonly Judge[];

  constructor(lookFor: LookFor) {
    this.#flags = lookFor.filters.filter(({ flags }) => flags);
    this.judges = lookFor.filters.flatMap(({ judge }) => judge ?? []);
    const rules = lookFor.filters.flatMap(({ sieve }) => sieve ?? []);
    this.sieve = rules.length > 0 ? new CategorySieve(rules) : undefined;
    this.#for = { ...lookFor, filters: lookFor.filters.filter(({ flags }) => !flags) };
  }

  get mayFlag(): boolean {
    // A judge that fails leaves it to a person, as a rule.
    return this.#flags.length > 0 || this.judges.length > 0;
  }

  /** What becomes of a whole text. */
  sift(text: string, vault: Vault | undefined): Sifted {
    const parts = this.sieve?.find(text) ?? [];
    const names = (action: 'block' | 'flag') =>
      parts.filter((part) => part.action === action).map(({ name }) => name);
    const redacted = parts.filter(({ action }) => action === 'redact');
    const sifted = replaced(text, redacted, ({ name }) => placeholder(name));
    const found = this.find(sifted);
    const blocked = [...new Set([...this.blocked(found), ...names('block')])];
    const flagged = this.mayFlag ? [...new Set([...this.#flaggedByWords(text), ...names('flag')])] : [];
    return { text: blocked.length > 0 ? '' : this.apply(sifted, found, vault), blocked, flagged };
  }

  /** What becomes of a text that cannot be changed, such as one that was read in an image. */
  weigh(text: string): Weighed {
    const parts = this.sieve?.find(text) ?? [];
    const found = this.find(text);
    const names = (action: 'block' | 'flag') =>
      parts.filter((part) => part.action === action).map(({ name }) => name);
    const covered = found.filter(({ type }) => {
      const action = this.actionOn(type);
      return action === PersonalDataAction.MASK || action === PersonalDataAction.PSEUDONYM;
    });
    return {
      blocked: [...new Set([...this.blocked(found), ...names('block')])],
      flagged: this.mayFlag ? [...new Set([...this.#flaggedByWords(text), ...names('flag')])] : [],
      covered: [...covered, ...parts.filter(({ action }) => action === 'redact')].map(
        ({ start, end, ...one }) => ({ start, end, type: 'type' in one ? one.type : one.name }),
      ),
    };
  }

  #flaggedByWords(text: string): string[] {
    return this.#flags.filter((filter) => filter.find(text).length > 0).map(({ name }) => name);
  }

  /** What flags a text, by words: in order, without overlaps. */
  findFlags(text: string): Finding[] {
    return apart(this.#flags.flatMap((filter) => filter.find(text)).sort(byPlace));
  }

  /** Whether a finding is of a filter that flags. */
  flags({ type }: Finding): boolean {
    return this.#flags.some(({ name }) => name === type);
  }

  /** In order, without overlaps; what blocks or flags is never lost to what does not. */
  find(text: string): Finding[] {
    const { types, rules, filters } = this.#for;
    const data = types.size > 0 || rules.length > 0 ? findAll(text, types, rules) : [];
    return this.#merged(
      data,
      filters.flatMap((filter) => filter.find(text)),
    );
  }

  /** The same for a text that goes on, with what flags it, from where it was settled before (or to its end, where it ends). */
  look(text: string, from: number, ends: boolean): Look {
    const { types, rules, filters } = this.#for;
    const words = [...filters, ...this.#flags].map((filter) => filter.look(text, from));
    const asked = types.size > 0 || rules.length > 0;
    let settled = text.length;
    if (!ends) {
      for (const one of words) settled = Math.min(settled, one.settled);
      if (asked && settled > from) settled = Math.min(settled, openFrom(text, types, rules));
      if (settled <= from) return { found: [], settled: from };
    }
    const data = asked ? findAll(text, types, rules, from) : [];
    const found = this.#merged(
      data,
      words.flatMap((one) => one.found),
    );
    return { found, settled: ends ? settled : settledBefore(text, found, settled) };
  }

  #merged(data: Finding[], words: Finding[]): Finding[] {
    if (words.length === 0) return data;
    const all = [...data, ...words];
    const blocks = (one: Finding) => this.actionOn(one.type) === PersonalDataAction.BLOCK || this.flags(one);
    const first = all.filter(blocks).sort(byPlace);
    return [...apart(first), ...apart(all.filter((one) => !blocks(one)).sort(byPlace))]
      .sort(byPlace)
      .filter(
        (one, i, list) =>
          blocks(one) || !list.some((other, at) => at !== i && blocks(other) && meet(one, other)),
      );
  }

  actionOn(type: string): PersonalDataAction {
    const filter = this.#for.filters.find(({ name }) => name === type);
    if (filter) return filter.blocks ? PersonalDataAction.BLOCK : PersonalDataAction.MASK;
    return this.#for.actions.get(type) ?? PersonalDataAction.PASS;
  }

  /** Kinds that were found and must not pass. */
  blocked(found: readonly Finding[]): string[] {
    const kinds = found.map(({ type }) => type);
    return [...new Set(kinds)].filter((type) => this.actionOn(type) === PersonalDataAction.BLOCK);
  }

  /** What stands in a finding's place. Without a vault there are no pseudonyms. */
  inPlaceOf({ type }: Finding, written: string, vault: Vault | undefined): string {
    if (vault && this.actionOn(type) === PersonalDataAction.PSEUDONYM) return vault.put(type, written);
    return placeholder(type);
  }

  /** A text as it may go on. */
  apply(text: string, found: readonly Finding[], vault: Vault | undefined): string {
    return replaced(text, found, (one) => this.inPlaceOf(one, text.slice(one.start, one.end), vault));
  }

  /** Says what was found, never the text. @param place of an image in the request */
  refusal(
    what: 'request' | 'answer' | 'image',
    kinds: readonly string[],
    version: number,
    place = '',
  ): LandfallError {
    const all = [...this.#for.filters, ...this.#flags];
    const filtered = kinds.filter((kind) => all.some(({ name }) => name === kind));
    const data = kinds.filter((kind) => !filtered.includes(kind));
    const holds = [
      ...(data.length > 0 ? [`personal data (${data.join(', ')})`] : []),
      ...(filtered.length > 0 ? [`what filters look for (${filtered.join(', ')})`] : []),
    ].join(' and ');
    const remedy = what !== 'answer' ? '; take it out and send the request again' : '';
    return failedPrecondition(
      `the ${what}${place && ` at ${place}`} holds ${holds}, which version ${version} of the content policy does not let pass${remedy}`,
      {
        reason: data.length > 0 ? 'PERSONAL_DATA' : 'CONTENT_FILTER',
        metadata: { kinds: kinds.join(', '), policy: String(version), ...(place ? { image: place } : {}) },
      },
    );
  }
}

const byPlace = (a: Finding, b: Finding) => a.start - b.start || b.end - a.end;
const meet = (a: Finding, b: Finding) => a.start < b.end && b.start < a.end;

/** Of what overlaps, the first. */
function apart(found: readonly Finding[]): Finding[] {
  let end = 0;
  const kept: Finding[] = [];
  for (const one of found) {
    if (one.start < end) continue;
    kept.push(one);
    end = one.end;
  }
  return kept;
}
