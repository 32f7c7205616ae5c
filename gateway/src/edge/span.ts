import { Metadata } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  type Context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

const tracer = trace.getTracer('landfall.gateway');
const getter = {
  keys: (headers: Headers) => [...headers.keys()],
  get: (headers: Headers, key: string) => headers.get(key) ?? undefined,
};
const NO_METADATA = new Metadata();

/** The span of one call from outside; what is behind the gateway hangs below it. */
export class EdgeSpan {
  readonly #span: Span;
  readonly trace: Context;

  constructor(span: Span, trace_: Context) {
    this.#span = span;
    this.trace = trace_;
  }

  get traceId(): string {
    return this.#span.spanContext().traceId;
  }

  /** What outbound calls are made for. */
  callContext(identity: Identity, signal: AbortSignal, deadlineMs: number): CallContext {
    return { identity, signal, deadlineMs, metadata: NO_METADATA, trace: this.trace };
  }

  fail(cause: unknown): void {
    const message = cause instanceof LandfallError ? cause.message : 'internal error';
    this.#span.setStatus({ code: SpanStatusCode.ERROR, message });
  }

  end(): void {
    this.#span.end();
  }
}

/** Begins a span under the caller's own trace, where it sent one (W3C traceparent). */
export function startSpan(name: string, headers: Headers, caller: Identity): EdgeSpan {
  const parent = propagation.extract(ROOT_CONTEXT, headers, getter);
  const attributes = { 'enduser.id': caller.subject, 'landfall.tenant': caller.tenant };
  const span = tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent);
  return new EdgeSpan(span, trace.setSpan(parent, span));
}
