import type { MessageInitShape } from '@bufbuild/protobuf';
import { ContentCategory, PersonalDataAction } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import {
  DryRunOutcome,
  type DryRunReport_Change,
  type DryRunReportSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import type { Check } from './check.ts';
import type { Decision } from './policy.ts';

const { PASSES, CHANGED, FLAGGED, BLOCKED } = DryRunOutcome;
const MOST_SAMPLES = 10;

/** A request or an answer of past traffic. */
export interface Past {
  id: string;
  ofAnswer: boolean;
  texts: readonly string[];
  /** Of the policy in force, and of the one that is run. */
  before: Decision | undefined;
  after: Decision | undefined;
}

type Change = Pick<DryRunReport_Change, 'type' | 'category' | 'ofAnswers' | 'before' | 'after'>;
interface Counted {
  count: number;
  sampleIds: string[];
}

/** Counts what two policies make of the same traffic, without keeping any of it. */
export class DryRun {
  readonly #changes = new Map<string, Counted & { change: Change }>();
  readonly #outcomes = new Map<
    string,
    { ofAnswers: boolean; before: DryRunOutcome; after: DryRunOutcome; count: number }
  >();
  readonly #unasked = new Set<string>();
  #imagesUnread = false;

  add({ id, ofAnswer, texts, before, after }: Past): void {
    const checks = [before, after].map((decision) => (ofAnswer ? decision?.answers : decision?.requests));
    for (const check of checks) for (const { name } of check?.judges ?? []) this.#unasked.add(name);
    this.#imagesUnread ||= [before, after].some((decision) => !ofAnswer && decision?.readsImages);
    const [was, is] = checks.map((check) => findingsOf(check, texts)) as [Found, Found];
    for (const key of new Set([...was.keys(), ...is.keys()])) {
      const [from, to] = [was.get(key) ?? PASSES, is.get(key) ?? PASSES];
      if (from !== to) this.#change(key, ofAnswer, from, to, id);
    }
    const [worstBefore, worstAfter] = [was, is].map((found) => Math.max(PASSES, ...found.values())) as [
      DryRunOutcome,
      DryRunOutcome,
    ];
    const key = `${ofAnswer} ${worstBefore} ${worstAfter}`;
    const known = this.#outcomes.get(key);
    if (known) known.count++;
    else this.#outcomes.set(key, { ofAnswers: ofAnswer, before: worstBefore, after: worstAfter, count: 1 });
  }

  get report(): MessageInitShape<typeof DryRunReportSchema> {
    const changes = [...this.#changes.values()].sort((a, b) => b.count - a.count);
    return {
      changes: changes.map(({ change, count, sampleIds }) => ({ ...change, count, sampleIds })),
      outcomes: [...this.#outcomes.values()],
      unaskedJudges: [...this.#unasked],
      imagesUnread: this.#imagesUnread,
    };
  }

  #change(key: string, ofAnswers: boolean, before: DryRunOutcome, after: DryRunOutcome, id: string): void {
    const [type = '', category = '0'] = key.split(' ');
    const place = `${key} ${ofAnswers} ${before} ${after}`;
    const change = { type, category: Number(category) as ContentCategory, ofAnswers, before, after };
    const known = this.#changes.get(place) ?? { change, count: 0, sampleIds: [] };
    this.#changes.set(place, known);
    known.count++;
    if (known.sampleIds.length < MOST_SAMPLES) known.sampleIds.push(id);
  }
}

/** By kind of personal data, or filter and category: the gravest of what becomes of it. */
type Found = ReadonlyMap<string, DryRunOutcome>;

function findingsOf(check: Check | undefined, texts: readonly string[]): Found {
  const found = new Map<string, DryRunOutcome>();
  const add = (type: string, outcome: DryRunOutcome, category = ContentCategory.UNSPECIFIED) => {
    const key = `${type} ${category}`;
    found.set(key, Math.max(outcome, found.get(key) ?? PASSES));
  };
  if (!check) return found;
  for (const text of texts) {
    for (const { type } of check.find(text)) {
      const action = check.actionOn(type);
      if (action !== PersonalDataAction.PASS)
        add(type, action === PersonalDataAction.BLOCK ? BLOCKED : CHANGED);
    }
    for (const { type } of check.mayFlag ? check.findFlags(text) : []) add(type, FLAGGED);
    for (const { name, action, category } of check.sieve?.find(text) ?? []) {
      add(name, { block: BLOCKED, flag: FLAGGED, redact: CHANGED }[action], category);
    }
  }
  return found;
}
