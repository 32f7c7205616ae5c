/** Traces and metrics of one generation by a backend, by OpenTelemetry's GenAI conventions; never its content. */

import { genAi } from '@landfall/common/telemetry/metrics.ts';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import {
  type Attributes,
  type Context,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import type { Part } from './backend.ts';

const tracer = trace.getTracer('landfall.text-inference');

export class BackendTelemetry {
  readonly #attributes: Attributes;
  readonly #span: Span;
  readonly #startedAt = performance.now();
  #firstAt: number | undefined;
  #finished = false;

  /** @param provider who answers: `openai` for any server of that API, `transformersjs` */
  constructor(request: GenerateRequest, provider: string, parent: Context) {
    const operation = request.messages.length > 0 ? 'chat' : 'text_completion';
    this.#attributes = {
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': provider,
      'gen_ai.request.model': request.model,
    };
    const options = { kind: SpanKind.CLIENT, attributes: this.#attributes };
    this.#span = tracer.startSpan(`${operation} ${request.model}`.trim(), options, parent);
  }

  /** Looks at a reply; the last one gets the times that only this side knows. */
  reply(reply: Part): Part {
    const now = performance.now();
    if (this.#firstAt === undefined) {
      this.#firstAt = now;
      genAi.timeToFirstToken.record((now - this.#startedAt) / 1000, this.#attributes);
    }
    const { usage } = reply;
    if (!usage) return reply;
    this.#finished = true;
    for (const type of ['input', 'output'] as const) {
      const tokens = (type === 'input' ? usage.inputTokens : usage.outputTokens) ?? 0;
      this.#span.setAttribute(`gen_ai.usage.${type}_tokens`, tokens);
      genAi.tokenUsage.record(tokens, { ...this.#attributes, 'gen_ai.token.type': type });
    }
    const times = { timeToFirstTokenMs: this.#firstAt - this.#startedAt, durationMs: now - this.#startedAt };
    return { ...reply, usage: { ...usage, ...times } };
  }

  /** The generation has ended; `error` where it failed and its caller has not left. */
  end(error: unknown): void {
    const attributes = { ...this.#attributes };
    if (error !== undefined) {
      const type = error instanceof Error ? error.name : 'Error';
      attributes['error.type'] = type;
      this.#span.setStatus({ code: SpanStatusCode.ERROR, message: type });
    } else if (!this.#finished) this.#span.setAttribute('gen_ai.response.finish_reasons', ['cancelled']);
    genAi.requestDuration.record((performance.now() - this.#startedAt) / 1000, attributes);
    this.#span.end();
  }
}
