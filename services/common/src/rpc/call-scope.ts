import type { Metadata } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import {
  type Context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { LandfallError } from '../errors/errors.ts';
import { rpcServerDuration } from '../telemetry/metrics.ts';

/** Reads metadata as OpenTelemetry's propagators ask for it. */
const getter = {
  keys: (metadata: Metadata) => Object.keys(metadata.getMap()),
  get: (metadata: Metadata, key: string) => metadata.get(key)[0]?.toString(),
};

const tracer = trace.getTracer('landfall.rpc');
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** What a server call of grpc-js has, whatever its kind. */
export interface ServerCall {
  metadata: Metadata;
  getDeadline(): Date | number;
  once(event: 'cancelled', listener: () => void): unknown;
}

/** The life of one call: its span, its cancellation, its deadline, and the figures at its end. */
export class CallScope {
  readonly abort = new AbortController();
  readonly deadlineMs: number;
  readonly trace: Context;
  readonly #span: Span;
  readonly #startMs = performance.now();
  readonly #service: string;
  readonly #method: string;
  readonly #timer: NodeJS.Timeout | undefined;

  /** @param defaultDeadlineMs given to calls that came without a deadline; Infinity for none */
  constructor(service: string, method: string, call: ServerCall, defaultDeadlineMs: number) {
    this.#service = service;
    this.#method = method;
    const parent = propagation.extract(ROOT_CONTEXT, call.metadata, getter);
    const attributes = { 'rpc.system': 'grpc', 'rpc.service': service, 'rpc.method': method };
    this.#span = tracer.startSpan(`${service}/${method}`, { kind: SpanKind.SERVER, attributes }, parent);
    this.trace = trace.setSpan(parent, this.#span);
    const asked = call.getDeadline();
    const deadlineMs = asked instanceof Date ? asked.getTime() : asked;
    this.deadlineMs = Number.isFinite(deadlineMs) ? deadlineMs : Date.now() + defaultDeadlineMs;
    if (Number.isFinite(this.deadlineMs)) {
      const left = Math.min(Math.max(0, this.deadlineMs - Date.now()), LONGEST_TIMER_MS);
      this.#timer = setTimeout(() => this.#end(status.DEADLINE_EXCEEDED, 'the deadline has passed'), left);
    }
    call.once('cancelled', () => this.#end(status.CANCELLED, 'the caller has gone'));
  }

  /** Records how the call ended; the handler has returned or failed before. */
  close(code: status, error?: LandfallError): void {
    clearTimeout(this.#timer);
    if (error) this.#span.setStatus({ code: SpanStatusCode.ERROR, message: status[code] });
    this.#span.setAttribute('rpc.grpc.status_code', code);
    this.#span.end();
    rpcServerDuration((performance.now() - this.#startMs) / 1000, this.#service, this.#method, code);
    // Whatever still listens (a stream held open for this call, say) ends with it.
    this.abort.abort();
  }

  #end(code: status, message: string): void {
    this.abort.abort(new LandfallError(code, message, { reason: status[code] }));
  }
}
