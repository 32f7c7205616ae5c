import type { CachePolicy } from '@landfall/proto/landfall/gateway/v1/cache_pb.js';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { Flight } from './flight.ts';
import type { Question } from './question.ts';
import { UseCounts } from './use-counts.ts';

/** An answer that is kept somewhere: here, in the database, or both. */
export interface IndexedAnswer {
  readonly key: string;
  readonly id: string;
  readonly context: string;
  readonly asked: string;
  readonly model: string;
  /** What similar questions are compared with. */
  readonly question: Question | undefined;
  readonly bytes: number;
  readonly createdMs: number;
  readonly expiresMs: number;
  /** Change of the tenant's that has brought it; until it is in the database, the last one that was known before. */
  revision: number;
}

/** Most questions that one is compared with. */
const MOST_COMPARED = 500;
/** Changes that are remembered for answers that are being made. */
const MOST_DROPPED = 1000;

/** What one gateway knows of a tenant's answers: which there are, without a look into the database. */
export class TenantCache {
  readonly tenant: string;
  /** What keys are made with. */
  readonly secret: Buffer;
  readonly counts = new UseCounts();
  /** Answers on their way, by key. */
  readonly flights = new Map<string, Flight<GenerateResponse>>();
  /** Undefined where the tenant keeps none. */
  policy: CachePolicy | undefined;
  /** The last change of the tenant's that is known here. */
  revision = 0;
  /** When the database was last asked whether there is another. */
  syncedMs = 0;
  /** When a call last asked. */
  askedMs = 0;
  /** Whether all that the database has was read once. */
  isLoaded = false;
  /** What was dropped lately: an answer whose making began before is not kept. */
  readonly #dropped: { revision: number; model: string }[] = [];
  readonly #answers = new Map<string, IndexedAnswer>();
  readonly #contexts = new Map<string, Map<string, IndexedAnswer>>();
  readonly #used = new Map<string, number>();
  #bytes = 0;

  constructor(tenant: string, secret: Buffer) {
    this.tenant = tenant;
    this.secret = secret;
  }

  get entries(): number {
    return this.#answers.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string, now: number): IndexedAnswer | undefined {
    const found = this.#answers.get(key);
    if (!found) return undefined;
    if (found.expiresMs > now) return found;
    this.delete(key);
    return undefined;
  }

  /** Those of a context, the newest first. */
  ofContext(context: string, now: number): IndexedAnswer[] {
    const all = [...(this.#contexts.get(context)?.values() ?? [])].reverse();
    return all.filter(({ expiresMs }) => expiresMs > now).slice(0, MOST_COMPARED);
  }

  set(answer: IndexedAnswer): void {
    this.delete(answer.key);
    this.#answers.set(answer.key, answer);
    this.#bytes += answer.bytes;
    if (!answer.question) return;
    const others = this.#contexts.get(answer.context) ?? new Map<string, IndexedAnswer>();
    this.#contexts.set(answer.context, others);
    others.set(answer.key, answer);
  }

  delete(key: string): void {
    const found = this.#answers.get(key);
    if (!found) return;
    this.#answers.delete(key);
    this.#bytes -= found.bytes;
    const others = this.#contexts.get(found.context);
    others?.delete(key);
    if (others?.size === 0) this.#contexts.delete(found.context);
  }

  /** Notes that answers were dropped. */
  drop(dropped: { revision: number; model: string }): void {
    this.#dropped.push(dropped);
    if (this.#dropped.length > MOST_DROPPED) this.#dropped.shift();
  }

  /** Whether an answer may be void whose making began after a change of the tenant's. */
  isVoid(answer: { asked: string; model: string }, since: number): boolean {
    const [oldest] = this.#dropped;
    // Of more than that nothing is known any more.
    if (this.#dropped.length === MOST_DROPPED && oldest!.revision > since) return true;
    return this.#dropped.some(({ revision, model }) => revision > since && isOf(answer, model));
  }

  /** What was asked for or answered by a model, all where it is empty, and was there before a change. @returns keys */
  before(revision: number, model: string): string[] {
    return [...this.#answers.values()]
      .filter((answer) => answer.revision < revision && isOf(answer, model))
      .map(({ key }) => key);
  }

  expired(now: number): string[] {
    return [...this.#answers.values()].filter(({ expiresMs }) => expiresMs <= now).map(({ key }) => key);
  }

  clear(): void {
    this.#answers.clear();
    this.#contexts.clear();
    this.#bytes = 0;
    this.isLoaded = false;
  }

  /** Notes that an answer was given: it stays longer than those that are not asked for. */
  touch(key: string, now: number): void {
    this.#used.set(key, now);
  }

  /** When answers were last given, since this was last asked. */
  takeUsed(): Map<string, number> {
    const used = new Map(this.#used);
    this.#used.clear();
    return used;
  }
}

/** Whether an answer was asked for by a name, or came from the model of that name; empty means any. */
export const isOf = ({ asked, model }: { asked: string; model: string }, name: string): boolean =>
  name === '' || asked === name || model === name;
