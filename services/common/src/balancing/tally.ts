import { type Endpoint, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { type Ask, expectedMs, isFull, UNKNOWN_ASK, type Unreported } from './cost.ts';
import { PaceWindow } from './pace.ts';
import { longestMatch } from './prefix-keys.ts';

const FIRST_EJECTION_MS = 500;
const LONGEST_EJECTION_MS = 30_000;
/** A replica that answers, but badly, is tried less often: each probe costs its caller. */
export const LONGEST_OUTLIER_EJECTION_MS = 120_000;
/** An outlier that has been well this long begins anew. */
const LEAST_WELL_MS = 20_000;
/** How old the balancer's news may be: it hears of loads, and tells of them, every 250 ms each. */
const NEWS_AGE_MS = 500;
/** A refusal counts as fullness at least this long. */
const LEAST_REFUSAL_MS = 100;

/** What the balancer says of a replica. */
export type ReplicaView = Pick<Endpoint, 'state' | 'load' | 'weight'>;

/** One request on its way to an endpoint. */
export interface Passage {
  /**
   * The endpoint has answered something: from here on its own reports count the request.
   * @param load what the message tells of it; undefined where that is as its messages before told
   */
  reported(load: Load | undefined, nowMs: number): void;
  /** Its caller reads on later, or again: what is silent meanwhile is not the endpoint. */
  pause(): void;
  resume(nowMs: number): void;
  /** It is over; the endpoint's state is settled by `succeeded` and `eject`. */
  end(): void;
  /** Whether the endpoint has been left alone since it began, so that its end says nothing of now. */
  readonly isStale: boolean;
}

/**
 * A replica as one caller knows it: the balancer's view, its own calls, and what it has seen fail. Knows no connection
 * and no clock, so that a simulation can drive it.
 */
export class EndpointTally {
  readonly window = new PaceWindow();
  #state: EndpointState = EndpointState.UNSPECIFIED;
  #load: Load | undefined;
  #weight = 1;
  /** Moment that the load tells of. */
  #loadMs = 0;
  /** Own requests that have heard nothing yet. */
  readonly #waiting = new Set<{ beganMs: number; promptTokens: number }>();
  #inFlight = 0;
  /** Own requests whose callers wait for a message. */
  #listening = 0;
  #heardMs = 0;
  #askedMs = 0;
  #failures = 0;
  /** Times in succession that it was left alone as an outlier. */
  #outlier = 0;
  /** How long it was left alone last. */
  #lastMs = 0;
  #ejections = 0;
  #ejectedUntilMs = 0;
  #probes = 0;
  #refusesUntilMs = 0;

  /** Takes the balancer's newest view; its load only where the replica's own answers have not told of a later one. */
  update({ state, load, weight }: ReplicaView, nowMs: number): void {
    this.#state = state;
    this.#weight = weight > 0 ? weight : 1;
    const loadMs = nowMs - NEWS_AGE_MS;
    if (!load || (this.#load && loadMs < this.#loadMs)) return;
    this.#take(load, loadMs);
  }

  get takesRequests(): boolean {
    return this.#state === EndpointState.READY;
  }

  /** The balancer has found that it does not answer. */
  get failed(): boolean {
    return this.#state === EndpointState.FAILED;
  }

  get load(): Load | undefined {
    return this.#load;
  }

  /** Own requests that have not ended. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Before this moment it is left alone; 0 for none. */
  get ejectedUntilMs(): number {
    return this.#ejectedUntilMs;
  }

  /** It was left alone, and no request has shown since that it is well. */
  get onProbation(): boolean {
    return this.#failures > 0;
  }

  /** It takes requests, and is not left alone now. */
  answers(nowMs: number): boolean {
    return this.takesRequests && nowMs >= this.#ejectedUntilMs;
  }

  /** It was left alone, and a request is under way that will show whether it is well again: one at a time is enough. */
  get isProbed(): boolean {
    return this.onProbation && this.#probes > 0;
  }

  /** How long it has said nothing while own requests wait for it. */
  silentMs(nowMs: number): number {
    return this.#listening > 0 ? nowMs - this.#heardMs : 0;
  }

  /** How long this caller has had nothing to do with it. */
  idleMs(nowMs: number): number {
    return this.#inFlight > 0 ? 0 : nowMs - this.#askedMs;
  }

  /** One more request would wait for a place there, or would be refused. */
  isSaturated(nowMs: number): boolean {
    return nowMs < this.#refusesUntilMs || isFull(this.#load, this.#unreported());
  }

  /** Milliseconds that one more request would take here, in proportion to its weight. */
  cost(ask: Ask = UNKNOWN_ASK): number {
    return expectedMs(this.#load, this.#unreported(), ask) / this.#weight;
  }

  /** Whether it has a beginning of the prompt. */
  caches({ prefixKeys }: Ask): boolean {
    return longestMatch(prefixKeys, this.#load?.cachedPrefixes ?? []) >= 0;
  }

  begin(nowMs: number, { promptTokens }: Ask = UNKNOWN_ASK): Passage {
    this.#inFlight++;
    this.#askedMs = nowMs;
    const waiting = { beganMs: nowMs, promptTokens };
    this.#waiting.add(waiting);
    const ejections = this.#ejections;
    const probes = this.onProbation;
    if (probes) this.#probes++;
    let [ended, listens] = [false, false];
    let told: Load | undefined;
    const listen = (atMs: number) => {
      if (ended || listens) return;
      listens = true;
      if (this.#listening++ === 0) this.#heardMs = atMs;
    };
    const pause = () => {
      if (listens) this.#listening--;
      listens = false;
    };
    listen(nowMs);
    const isStale = () => this.#ejections !== ejections;
    return {
      reported: (load, atMs) => {
        this.#waiting.delete(waiting);
        this.#heardMs = atMs;
        told = load ?? (told && { ...told, numbersOnly: true });
        if (told) this.#take(told, atMs);
      },
      pause,
      resume: listen,
      end: () => {
        if (ended) return;
        pause();
        ended = true;
        this.#waiting.delete(waiting);
        this.#inFlight--;
        if (probes && !isStale()) this.#probes--;
      },
      get isStale() {
        return isStale();
      },
    };
  }

  #take(load: Load, atMs: number): void {
    const { adapters, base, cachedPrefixes } = this.#load ?? load;
    this.#load = load.numbersOnly ? { ...load, adapters, base, cachedPrefixes, numbersOnly: false } : load;
    this.#loadMs = atMs;
  }

  #unreported(): Unreported {
    const sum = { requests: 0, promptTokens: 0, ownPromptTokens: 0 };
    for (const { beganMs, promptTokens } of this.#waiting) {
      sum.ownPromptTokens += promptTokens;
      if (beganMs < this.#loadMs) continue;
      sum.requests++;
      sum.promptTokens += promptTokens;
    }
    // Of a replica that tells no load, own requests are all that is known.
    if (!this.#load) sum.requests = this.#inFlight;
    return sum;
  }

  succeeded(nowMs: number): void {
    this.#failures = 0;
    this.#ejectedUntilMs = Math.min(this.#ejectedUntilMs, nowMs);
    this.#probes = 0;
  }

  /** It has refused a request before any work and says when to come again. */
  refused(retryAfterMs: number, nowMs: number): void {
    this.#refusesUntilMs = nowMs + Math.max(LEAST_REFUSAL_MS, retryAfterMs);
  }

  /** Leaves it alone for a while, longer with each failure in a row, and not in step with other callers. */
  eject(nowMs: number, random: () => number = Math.random): void {
    this.#leaveAlone(Math.min(LONGEST_EJECTION_MS, FIRST_EJECTION_MS * 2 ** this.#failures), nowMs, random);
  }

  /**
   * Leaves an endpoint alone that answers, but worse than its peers: longer each time, also where a good answer came in
   * between, until it has been well for some time.
   */
  ejectOutlier(nowMs: number, random: () => number = Math.random): void {
    const wasWellMs = nowMs - this.#ejectedUntilMs;
    this.#outlier = wasWellMs > Math.max(LEAST_WELL_MS, 4 * this.#lastMs) ? 0 : this.#outlier + 1;
    const ms = FIRST_EJECTION_MS * 2 ** Math.max(this.#failures, this.#outlier);
    this.#leaveAlone(Math.min(LONGEST_OUTLIER_EJECTION_MS, ms), nowMs, random);
  }

  #leaveAlone(ms: number, nowMs: number, random: () => number): void {
    this.#failures++;
    this.#ejections++;
    this.#probes = 0;
    this.#lastMs = ms * (0.75 + random() / 2);
    this.#ejectedUntilMs = nowMs + this.#lastMs;
    this.window.clear();
  }
}
