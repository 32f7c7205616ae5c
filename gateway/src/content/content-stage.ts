import { clone, type DescMessage, type Message } from '@bufbuild/protobuf';
import type { Content, Flow } from '../edge/governance.ts';
import { routeName } from '../edge/route-name.ts';
import type { Check } from './check.ts';
import { Flagged, guardedStream, isTextInParts, joined } from './guarded-stream.ts';
import type { ImageCheck } from './image-check.ts';
import { isImageUrl } from './images.ts';
import type { Judged, Judges } from './judge.ts';
import type { ContentPolicies } from './policies.ts';
import type { CompiledPolicy, Decision } from './policy.ts';
import { PSEUDONYM, Pseudonyms, Vault } from './pseudonyms.ts';
import { digestOf, type Reviews } from './reviews.ts';
import { textsIn, textsOf } from './texts.ts';

/** What was decided for a call, and what its pseudonyms stand for. */
interface CallState {
  readonly policy: CompiledPolicy;
  readonly decision: Decision;
  readonly vault: Vault;
  /** Of a call whose answer may have to wait: what it asked. */
  asked?: { digest: string; texts: readonly string[] };
  /** Its answer, where that was approved before. */
  approved?: readonly Message[];
}

/** A request, and what was found out about it. */
interface Asked {
  /** As it came. */
  message: Message;
  /** As it may go on. */
  passed: Message;
  /** By which a person has to decide. */
  filters: Set<string>;
  /** What is read in its images. */
  imageTexts: readonly string[];
}

/** Lets pass what the tenant's policy lets pass, on every route alike. */
export class ContentStage implements Content {
  readonly #policies: ContentPolicies;
  readonly #pseudonymKey: Buffer;
  readonly #reviews: Reviews;
  readonly #judges: Judges;
  readonly #images: ImageCheck;
  readonly #states = new WeakMap<Flow, CallState>();

  constructor(
    policies: ContentPolicies,
    pseudonymKey: Buffer,
    reviews: Reviews,
    judges: Judges,
    images: ImageCheck,
  ) {
    this.#policies = policies;
    this.#judges = judges;
    this.#images = images;
    this.#reviews = reviews;
    this.#pseudonymKey = pseudonymKey;
  }

  request(flow: Flow, message: Message): Message | Promise<Message> {
    const policy = this.#policies.of(flow.caller.tenant);
    return policy instanceof Promise
      ? policy.then((read) => this.#request(flow, message, read))
      : this.#request(flow, message, policy);
  }

  approved(flow: Flow): readonly Message[] | undefined {
    return this.#states.get(flow)?.approved;
  }

  answer(flow: Flow, message: Message): Message | Promise<Message> {
    const state = this.#states.get(flow);
    if (!state || state.approved) return message;
    if (state.decision.answers?.judges.length)
      return this.#judged(flow, state, [message]).then(([shown]) => shown!);
    try {
      return this.#shown(flow, state, message);
    } catch (cause) {
      if (!(cause instanceof Flagged)) throw cause;
      return this.#hold(flow, state, [message], cause.filters);
    }
  }

  stream(flow: Flow, parts: AsyncIterable<Message>): AsyncIterable<Message> {
    const state = this.#states.get(flow);
    if (!state || state.approved || (!state.decision.answers && state.vault.isEmpty)) return parts;
    const { policy, decision, vault } = state;
    if (decision.answers?.judges.length) return this.#judgedStream(flow, state, parts);
    return guardedStream(flow.call.method.output, parts, {
      check: decision.answers,
      vault,
      version: policy.version,
      whole: (message) => this.#shown(flow, state, message),
      hold: (seen, filters) => this.#hold(flow, state, joined(seen), filters),
    });
  }

  /** @throws Flagged, LandfallError where it must not pass */
  #shown(flow: Flow, { decision, vault, policy }: CallState, message: Message): Message {
    const { output } = flow.call.method;
    if (!decision.answers) return vault.isEmpty ? message : restored(output, message, vault);
    const filters = new Set<string>();
    const passed = checked(output, message, decision.answers, undefined, 'answer', policy.version, filters);
    if (filters.size > 0) throw new Flagged([...filters]);
    return vault.isEmpty ? passed : restored(output, passed, vault);
  }

  /** An answer that is judged is shown when it is whole; messages that are no parts of one, each by itself. */
  async *#judgedStream(flow: Flow, state: CallState, parts: AsyncIterable<Message>): AsyncGenerator<Message> {
    const seen: Message[] = [];
    const isText = isTextInParts(flow.call.method.output);
    for await (const part of parts) {
      if (isText) seen.push(part);
      else yield* await this.#judged(flow, state, [part]);
    }
    if (isText) yield* await this.#judged(flow, state, joined(seen));
  }

  /** A whole answer as it may be shown. */
  async #judged(flow: Flow, state: CallState, answer: readonly Message[]): Promise<readonly Message[]> {
    const { decision, vault, policy } = state;
    const { output } = flow.call.method;
    const { answers } = decision;
    const filters = new Set<string>();
    const passed = answer.map((message) =>
      checked(output, message, answers!, undefined, 'answer', policy.version, filters),
    );
    const texts = [...new Set(passed.flatMap((message) => textsIn(output, message)))];
    const ruling = await this.#judges.rule(answers!.judges, texts, judgedFor(flow));
    if (ruling.blocked.length > 0) throw answers!.refusal('answer', ruling.blocked, policy.version);
    for (const name of ruling.flagged) filters.add(name);
    if (filters.size > 0) await this.#hold(flow, state, answer, [...filters]);
    return vault.isEmpty ? passed : passed.map((message) => restored(output, message, vault));
  }

  /** Keeps an answer for a reviewer: as its caller would be shown it, and without what stands for their data. */
  async #hold(
    flow: Flow,
    { decision, vault, policy, asked }: CallState,
    answer: readonly Message[],
    by: readonly string[],
  ): Promise<never> {
    const { output } = flow.call.method;
    const { version } = policy;
    const filters = new Set(by);
    const passed = answer.map((message) =>
      checked(output, message, decision.answers!, undefined, 'answer', version, filters),
    );
    return this.#reviews.hold(flow, asked!.digest, {
      ...{ texts: asked!.texts, filters: [...filters], version },
      answerTexts: [...new Set(passed.flatMap((message) => textsIn(output, message)))],
      messages: vault.isEmpty ? passed : passed.map((message) => restored(output, message, vault)),
    });
  }

  /**
   * Parts of an answer as they may be kept: as they would be shown to a call like this one, but for pseudonyms, which
   * stay. The parts themselves where nothing in them is touched, so that they are shown again in the same pieces.
   * @throws LandfallError for an answer that must not pass
   */
  async kept(flow: Flow, parts: readonly Message[]): Promise<readonly Message[]> {
    const state = this.#states.get(flow);
    const check = state?.decision.answers;
    if (!check) return parts;
    const { policy, vault } = state;
    const { output } = flow.call.method;
    const { version } = policy;
    const whole = (message: Message) => {
      const filters = new Set<string>();
      const passed = checked(output, message, check, undefined, 'answer', version, filters);
      if (filters.size > 0) throw new Flagged([...filters]);
      return passed;
    };
    // What waits for a person is kept with its review alone.
    const hold = (_: readonly Message[], filters: readonly string[]) =>
      Promise.reject(check.refusal('answer', filters, version));
    const rules = { check, vault: vault.empty(), version, whole, hold };
    const shown: Message[] = [];
    for await (const part of guardedStream(output, iterated(parts), rules)) shown.push(part);
    return textOf(output, shown) === textOf(output, parts) ? parts : shown;
  }

  #request(flow: Flow, message: Message, policy: CompiledPolicy | undefined): Message | Promise<Message> {
    if (!policy) return message;
    const state = this.#states.get(flow) ?? this.#open(flow, policy);
    const { requests, readsImages } = state.decision;
    const { input } = flow.call.method;
    const { version } = state.policy;
    const filters = new Set<string>();
    const passed = requests
      ? checked(input, message, requests, state.vault, 'request', version, filters, readsImages)
      : message;
    const images = requests && readsImages && this.#images.pass(flow, passed, requests, version);
    if (!images) return this.#decided(flow, state, { message, passed, filters, imageTexts: [] });
    return images.then(({ message: shown, texts, flagged }) => {
      for (const name of flagged) filters.add(name);
      return this.#decided(flow, state, { message, passed: shown, filters, imageTexts: texts });
    });
  }

  /** A request whose texts may pass, once its judges and reviewers have let it. */
  #decided(flow: Flow, state: CallState, asked: Asked): Message | Promise<Message> {
    const { requests, answers } = state.decision;
    const mayWait = answers?.mayFlag && !state.asked;
    const isJudged = requests !== undefined && requests.judges.length > 0;
    if (asked.filters.size === 0 && !mayWait && !isJudged) return asked.passed;
    const judged = isJudged ? this.#judgeRequest(flow, state, asked) : Promise.resolve();
    return judged.then(() => this.#reviewed(flow, state, asked)).then(() => asked.passed);
  }

  async #judgeRequest(flow: Flow, state: CallState, { passed, filters, imageTexts }: Asked): Promise<void> {
    const check = state.decision.requests!;
    const texts = [...readableTexts(flow.call.method.input, passed), ...imageTexts];
    const ruling = await this.#judges.rule(check.judges, texts, judgedFor(flow));
    if (ruling.blocked.length > 0) throw check.refusal('request', ruling.blocked, state.policy.version);
    for (const name of ruling.flagged) filters.add(name);
  }

  /** A call that a person has to decide on, or may have decided on. */
  async #reviewed(flow: Flow, state: CallState, { message, filters, imageTexts }: Asked): Promise<void> {
    const texts = [...readableTexts(flow.call.method.input, message), ...imageTexts];
    const { version } = state.policy;
    if (filters.size > 0) {
      await this.#reviews.admit(flow, message, { texts, filters: [...filters], version });
      flow.reviewed = true;
    }
    if (!state.decision.answers?.mayFlag || state.asked) return;
    state.asked = { digest: digestOf('answer', flow, message), texts };
    const approved = await this.#reviews.answered(flow, state.asked.digest);
    if (approved) state.approved = approved;
  }

  #open(flow: Flow, policy: CompiledPolicy): CallState {
    flow.policy = `content/${policy.version}`;
    const { caller, call } = flow;
    const decision = policy.decide([routeName(call.method), call.route], caller);
    flow.contentRule = `${policy.version}/${decision.rule}`;
    const names = new Pseudonyms(this.#pseudonymKey, caller.tenant, policy.generation);
    const state: CallState = { policy, decision, vault: new Vault(names) };
    this.#states.set(flow, state);
    return state;
  }
}

const judgedFor = ({ call: { signal }, caller: { tenant }, policy }: Flow): Judged => ({
  ...{ tenant, policy, signal },
});

/** Texts of a message that people and models read; the data URL of an image is none. */
const readableTexts = (type: DescMessage, message: Message) =>
  textsIn(type, message).filter((text) => !isImageUrl(text));

async function* iterated(parts: readonly Message[]): AsyncGenerator<Message> {
  yield* parts;
}

/** All texts of messages, one behind the other. */
export function textOf(type: DescMessage, messages: readonly Message[]): string {
  const visit = textsOf(type);
  let all = '';
  for (const message of messages) {
    visit?.(message, (text) => {
      all += text;
      return text;
    });
  }
  return all;
}

/**
 * A message as it may go on: itself where nothing in it is touched.
 * @param flagged takes the filters by which a person has to decide
 * @param readsImages whether data URLs are read as images, and so are no texts
 */
function checked(
  type: DescMessage,
  message: Message,
  check: Check,
  vault: Vault | undefined,
  what: 'request' | 'answer',
  version: number,
  flagged: Set<string>,
  readsImages = false,
): Message {
  return changed(type, message, (text) => {
    if (readsImages && isImageUrl(text)) return text;
    const sifted = check.sift(text, vault);
    if (sifted.blocked.length > 0) throw check.refusal(what, sifted.blocked, version);
    for (const name of sifted.flagged) flagged.add(name);
    return sifted.text;
  });
}

const restored = (type: DescMessage, message: Message, vault: Vault) =>
  changed(type, message, (text) => text.replace(PSEUDONYM, (name) => vault.original(name) ?? name));

/** A copy with other texts; the message itself where none is other. Messages may be kept by whoever made them. */
function changed(type: DescMessage, message: Message, change: (text: string) => string): Message {
  const visit = textsOf(type);
  if (!visit) return message;
  const texts: string[] = [];
  let same = true;
  visit(message, (text) => {
    const other = change(text);
    texts.push(other);
    same &&= other === text;
    return text;
  });
  if (same) return message;
  const copy = clone(type, message);
  let next = 0;
  visit(copy, () => texts[next++]!);
  return copy;
}
