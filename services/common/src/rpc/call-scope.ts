import { type Metadata, status } from '@grpc/grpc-js';
import {
  type Context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { LandfallError } from '../errors/errors.ts';
import type { Identity } from '../identity/identity.ts';
import { rpcServerDuration } from '../telemetry/metrics.ts';
import type { CallContext } from './call-context.ts';
import type { Route } from './route.ts';

/** Reads metadata as OpenTelemetry's propagators ask for it. */
const getter = {
  keys: (metadata: Metadata) => Object.keys(metadata.getMap()),
  get: (metadata: Metadata, key: string) => metadata.get(key)[0]?.toString(),
};

const tracer = trace.getTracer('landfall.rpc');
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** grpc-js counts a deadline down by a timer, which may fire a little before the clock says so. */
const TIMER_SLACK_MS = 5;

/** One for all calls: it has no stack to capture. */
const CALL_ENDED = new LandfallError(status.CANCELLED, 'the call has ended');
const NOBODY: Identity = { subject: '', tenant: '', role: 0 };

/** What a server call of grpc-js has, whatever its kind. */
export interface ServerCall {
  metadata: Metadata;
  getDeadline(): Date | number;
  on(event: 'cancelled', listener: () => void): unknown;
}

/** The life of one call: its context, its span, its cancellation, its deadline, and the figures at its end. */
export class CallScope implements CallContext {
  readonly route: Route;
  readonly metadata: Metadata;
  readonly deadlineMs: number;
  readonly trace: Context;
  identity = NOBODY;
  /** Called with the reason when the call ends before its handler: the answer must not wait for a deaf one. */
  onStop: ((reason: LandfallError) => void) | undefined;
  readonly #span: Span;
  readonly #startMs = performance.now();
  readonly #timer: NodeJS.Timeout | undefined;
  #abort: AbortController | undefined;
  #reason: LandfallError | undefined;
  #closed = false;

  /** @param defaultDeadlineMs given to calls that came without a deadline; Infinity for none */
  constructor(route: Route, call: ServerCall, defaultDeadlineMs: number) {
    this.route = route;
    this.metadata = call.metadata;
    const parent = propagation.extract(ROOT_CONTEXT, call.metadata, getter);
    this.#span = tracer.startSpan(route.name, route.spanOptions, parent);
    this.trace = trace.setSpan(parent, this.#span);
    const asked = call.getDeadline();
    const deadlineMs = asked instanceof Date ? asked.getTime() : asked;
    if (Number.isFinite(deadlineMs)) {
      // grpc-js itself ends the call then, which arrives here as 'cancelled'.
      this.deadlineMs = deadlineMs;
    } else {
      this.deadlineMs = Date.now() + defaultDeadlineMs;
      if (Number.isFinite(defaultDeadlineMs)) {
        const waitMs = Math.min(defaultDeadlineMs, LONGEST_TIMER_MS);
        this.#timer = setTimeout(() => this.stop(deadlinePassed()), waitMs);
      }
    }
    // grpc-js also says 'cancelled' when it has sent the status of a call that ended well.
    // (`on`, because it says so once anyway and `once` costs more.)
    call.on('cancelled', () => {
      if (this.#closed) return;
      if (!this.expire()) this.stop(new LandfallError(status.CANCELLED, 'the caller has gone'));
    });
  }

  /** Made on demand: most handlers of short calls never ask. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#reason) this.#abort.abort(this.#reason);
    }
    return this.#abort.signal;
  }

  /** Why the call was stopped before its handler had ended. */
  get stopped(): LandfallError | undefined {
    return this.#closed ? undefined : this.#reason;
  }

  /** Stops the call if its deadline has passed; returns whether it has. */
  expire(): boolean {
    const late = Date.now() >= this.deadlineMs - TIMER_SLACK_MS;
    if (late) this.stop(deadlinePassed());
    return late;
  }

  /** Tells the handler to stop, and the caller why. */
  stop(reason: LandfallError): void {
    if (this.#reason) return;
    this.#reason = reason;
    clearTimeout(this.#timer);
    this.#abort?.abort(reason);
    this.onStop?.(reason);
  }

  /** Records how the call ended; the handler has returned or failed before. */
  close(code: status): void {
    clearTimeout(this.#timer);
    this.#closed = true;
    if (code !== status.OK) this.#span.setStatus({ code: SpanStatusCode.ERROR, message: status[code] });
    this.#span.setAttribute('rpc.grpc.status_code', code);
    this.#span.end();
    rpcServerDuration((performance.now() - this.#startMs) / 1000, this.route, code);
    // Whatever still listens (a stream held open for this call, say) ends with it.
    if (!this.#reason) {
      this.#reason = CALL_ENDED;
      this.#abort?.abort(CALL_ENDED);
    }
  }
}

function deadlinePassed(): LandfallError {
  return new LandfallError(status.DEADLINE_EXCEEDED, 'the deadline has passed', {
    reason: 'DEADLINE_EXCEEDED',
  });
}
