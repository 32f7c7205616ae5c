import type { DescMethod, Message } from '@bufbuild/protobuf';
import { ConnectError } from '@connectrpc/connect';
import { status } from '@grpc/grpc-js';
import { cancelled, LandfallError } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';

type Awaitable<T> = T | Promise<T>;

/** A call from outside as it is known before its body is read. */
export interface EdgeCall {
  /** The contract that it falls under: an HTTP route names the method that it stands for. */
  readonly method: DescMethod;
  /** How it came in: `package.Service/Method`, or `POST /v1/chat/completions`. */
  readonly route: string;
  header(name: string): string | null;
  /** What its connection's client certificate says of the caller; empty for none. */
  certificate?(): readonly string[];
  /** Fires when the call is over or its caller has gone. */
  readonly signal: AbortSignal;
}

/** A call whose caller is known, and what its stages find out about it on the way. */
export interface Flow {
  readonly call: EdgeCall;
  readonly caller: Identity;
  /** Version of the policy that decides on its content; set by the stage that decides. */
  policy: string;
  /** The same with the number of its rule that fits: what decides what is shown of an answer. */
  contentRule: string;
  /** Whether a person has let it pass. */
  reviewed: boolean;
  /** What the cache of answers made of it; empty where it was not asked. */
  cache: '' | 'hit' | 'similar' | 'miss' | 'bypass';
  /** The answer's own name and time, where they are known; one that is given again keeps them. */
  answer: { readonly id: string; readonly createdMs: number } | undefined;
  /** Puts headers on the answer, before its first part is shown. */
  tell(headers: Readonly<Record<string, string>>): void;
}

/** Who calls, and what they may. Each refusal is thrown. */
export interface Who {
  /** @throws LandfallError UNAUTHENTICATED */
  authenticate(call: EdgeCall): Awaitable<Identity>;
  /** May this caller use this method at all? @throws LandfallError PERMISSION_DENIED */
  mayCall(flow: Flow): Awaitable<void>;
  /** May they use it on what this message names? @throws LandfallError PERMISSION_DENIED, NOT_FOUND */
  mayTouch(flow: Flow, message: Message): Awaitable<void>;
  /**
   * A reply without what this caller may not know of.
   * @param request that it answers, unless that was a stream
   * @param again asks the same method once more: for the next page of a list, of which parts are left out
   */
  mayShow(
    flow: Flow,
    reply: Message,
    request: Message | undefined,
    again: (request: Message) => Promise<Message>,
  ): Awaitable<Message>;
}

/** How much a caller may. */
export interface Meter {
  /** Takes a place, before the body is read. @throws LandfallError RESOURCE_EXHAUSTED */
  open(flow: Flow): Awaitable<Lease>;
}

/** The place of one call; `close` gives it back, and may be called again. */
export interface Lease {
  /** Now that the message tells what it is for. @throws LandfallError RESOURCE_EXHAUSTED */
  charge(message: Message): Awaitable<void>;
  /** Takes note of what a reply says it cost. */
  used(reply: Message): void;
  /** What is left, for the head of the answer. */
  readonly headers: Readonly<Record<string, string>>;
  close(): void;
}

/** What may pass. Each returns what goes on in the message's place, or throws. */
export interface Content {
  request(flow: Flow, message: Message): Awaitable<Message>;
  /** The answer to a call that was answered before and may be shown now; known once its request has passed. */
  approved(flow: Flow): readonly Message[] | undefined;
  answer(flow: Flow, message: Message): Awaitable<Message>;
  /** Parts of one answer, that are shown only once they have been checked. */
  stream(flow: Flow, parts: AsyncIterable<Message>): AsyncIterable<Message>;
}

/** The making of an answer. */
export interface Making<M extends Message> {
  /** @param shared fires in the place of the call's own signal, where the answer is made for others too */
  start(shared?: AbortSignal): AsyncIterable<M>;
  /** Takes note of what a part says it cost: of an answer that was made for this call. */
  used(part: M): void;
}

/** Answers that were given before. */
export interface Answers {
  /**
   * The answer to a request that has passed all stages before: one that is kept, or the one that is made, which is then
   * kept where it may be. Content has still to pass it.
   * @returns undefined where this call is no business of it
   */
  stream<M extends Message>(flow: Flow, request: Message, making: Making<M>): AsyncIterable<M> | undefined;
}

/** What became of a call: `OK`, or the name of its gRPC code. */
export type Outcome = keyof typeof status;

/** Proof of what was decided. */
export interface Ledger {
  /** A call that was let no further than its headers; `caller` where it is known. */
  refused(call: EdgeCall, caller: Identity | undefined, outcome: Outcome): Awaitable<void>;
  open(flow: Flow): LedgerEntry;
}

/** The record of one call while it runs. What went on behind the gateway and what was shown is recorded. */
export interface LedgerEntry {
  asked(message: Message): void;
  replied(message: Message): void;
  /** Resolves when what is known so far can not be lost: before the first part of a stream is shown. */
  begun(): Awaitable<void>;
  /** Resolves when the whole record can not be lost: before an answer's end leaves. */
  end(outcome: Outcome): Awaitable<void>;
}

export interface Stages {
  who: Who;
  meter: Meter;
  content: Content;
  answers: Answers;
  ledger: Ledger;
}

/**
 * The one way of every call through the gateway, whichever protocol it speaks: who and may (headers), place (quota),
 * then for each message rights on what it names, cost and content; forward, or what was answered before; content of the
 * answer; record; out.
 */
export class Governance {
  readonly #stages: Stages;

  constructor(stages: Stages) {
    this.#stages = stages;
  }

  /**
   * Before a byte of the body is read.
   * @throws LandfallError UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED
   */
  async begin(call: EdgeCall): Promise<Governed> {
    const { who, meter, ledger } = this.#stages;
    let caller: Identity | undefined;
    try {
      caller = await who.authenticate(call);
      const flow = newFlow(call, caller);
      await who.mayCall(flow);
      const lease = await meter.open(flow);
      const governed = new Governed(this.#stages, flow, lease);
      // The caller may have left while it was looked up.
      if (call.signal.aborted) governed.close();
      else call.signal.addEventListener('abort', () => governed.close(), { once: true });
      return governed;
    } catch (cause) {
      await ledger.refused(call, caller, outcomeOf(cause));
      throw cause;
    }
  }
}

/** A call that was let in. */
export class Governed {
  readonly flow: Flow;
  readonly #stages: Stages;
  readonly #lease: Lease;
  readonly #entry: LedgerEntry;
  #ended = false;

  constructor(stages: Stages, flow: Flow, lease: Lease) {
    this.#stages = stages;
    this.flow = flow;
    this.#lease = lease;
    this.#entry = stages.ledger.open(flow);
  }

  get caller(): Identity {
    return this.flow.caller;
  }

  /** What the head of the answer tells of limits. */
  get headers(): Readonly<Record<string, string>> {
    return this.#lease.headers;
  }

  /** One answer to one message, or to a stream of them. */
  async unary(
    request: Message | AsyncIterable<Message>,
    forward: (request: Message | AsyncIterable<Message>) => Promise<Message>,
  ): Promise<Message> {
    try {
      const passed = await this.#asked(request);
      const approved = this.#stages.content.approved(this.flow)?.[0];
      const reply = approved ?? (await forward(passed));
      if (!approved) this.#lease.used(reply);
      const single = isMessage(passed) ? passed : undefined;
      const visible = await this.#stages.who.mayShow(this.flow, reply, single, forward);
      const shown = await this.#stages.content.answer(this.flow, visible);
      this.#stopIfOver();
      this.#entry.replied(shown);
      await this.end('OK');
      return shown;
    } catch (cause) {
      await this.end(outcomeOf(cause));
      throw cause;
    }
  }

  /** Answers in parts, which the caller sees as they come or all at the end. */
  async *stream<M extends Message>(
    request: Message | AsyncIterable<Message>,
    forward: (request: Message | AsyncIterable<Message>, shared?: AbortSignal) => AsyncIterable<M>,
    shown: 'as they come' | 'at the end' = 'as they come',
  ): AsyncGenerator<M> {
    let outcome: Outcome = 'CANCELLED';
    try {
      const asked = await this.#asked(request);
      const approved = this.#stages.content.approved(this.flow) as readonly M[] | undefined;
      const parts = approved ? each(approved) : this.#answered(asked, forward);
      let first = shown === 'as they come';
      for await (const part of this.#stages.content.stream(this.flow, parts)) {
        this.#stopIfOver();
        this.#entry.replied(part);
        if (first) await this.#entry.begun();
        first = false;
        yield part as M;
      }
      outcome = 'OK';
    } catch (cause) {
      outcome = outcomeOf(cause);
      throw cause;
    } finally {
      await this.end(outcome);
    }
  }

  /** Records what became of the call, once, and gives its place back. */
  async end(outcome: Outcome): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#lease.close();
    await this.#entry.end(outcome);
  }

  /** For calls that end without having been read: a body that is no message, a caller who left. */
  close(): void {
    void Promise.resolve(this.end('CANCELLED')).catch(() => {});
  }

  /** What comes for a caller who has left is shown to nobody, and the record is closed. */
  #stopIfOver(): void {
    if (this.#ended) throw cancelled('the caller has left');
  }

  #asked(request: Message | AsyncIterable<Message>): Awaitable<Message | AsyncIterable<Message>> {
    return isMessage(request) ? this.#checked(request) : this.#each(request);
  }

  async #checked(message: Message): Promise<Message> {
    await this.#stages.who.mayTouch(this.flow, message);
    await this.#lease.charge(message);
    const passed = await this.#stages.content.request(this.flow, message);
    this.#entry.asked(passed);
    return passed;
  }

  async *#each(messages: AsyncIterable<Message>): AsyncGenerator<Message> {
    for await (const message of messages) yield await this.#checked(message);
  }

  #answered<M extends Message>(
    asked: Message | AsyncIterable<Message>,
    forward: (request: Message | AsyncIterable<Message>, shared?: AbortSignal) => AsyncIterable<M>,
  ): AsyncIterable<Message> {
    const making: Making<M> = {
      start: (shared) => forward(asked, shared),
      used: (part) => this.#lease.used(part),
    };
    const known = isMessage(asked) ? this.#stages.answers.stream(this.flow, asked, making) : undefined;
    return known ?? this.#counted(making.start());
  }

  async *#counted(parts: AsyncIterable<Message>): AsyncGenerator<Message> {
    for await (const part of parts) {
      this.#lease.used(part);
      yield part;
    }
  }
}

function newFlow(call: EdgeCall, caller: Identity): Flow {
  const nothing = { policy: '', contentRule: '', reviewed: false, cache: '', answer: undefined } as const;
  return { call, caller, ...nothing, tell: () => {} };
}

async function* each(messages: readonly Message[]): AsyncGenerator<Message> {
  yield* messages;
}

const isMessage = (value: Message | AsyncIterable<Message>): value is Message => '$typeName' in value;

/** The gRPC code's name of a failure; what is not ours to name is INTERNAL. */
export function outcomeOf(cause: unknown): Outcome {
  if (cause instanceof LandfallError) return status[cause.code] as Outcome;
  // A body that breaks its protocol or is too large; Connect's codes are gRPC's numbers.
  if (cause instanceof ConnectError) return status[cause.code] as Outcome;
  return 'INTERNAL';
}
