/** Traces and metrics of one generation, by OpenTelemetry's GenAI conventions; never its content. */

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
import type { RequestEvent } from './engine/model-thread.ts';

/** How a generation ended. */
export type Outcome = { finishReason: 'stop' | 'length' | 'cancelled' } | { error: unknown };

const tracer = trace.getTracer('landfall.text-inference');
const PROVIDER = 'landfall';

export class GenerationTelemetry {
  readonly #span: Span;
  readonly #trace: Context;
  readonly #attributes: Attributes;
  readonly #startedAt = performance.now();
  #firstTokenAt: number | undefined;
  #lastTokenAt = 0;
  #queueMs = 0;
  #outputTokens = 0;
  #decode: { span: Span; steps: number; rows: number; endedAt: number } | undefined;

  /** @param parent OpenTelemetry context of the call. */
  constructor(request: GenerateRequest, parent: Context) {
    const operation = request.messages.length > 0 ? 'chat' : 'text_completion';
    this.#attributes = {
      'gen_ai.operation.name': operation,
      'gen_ai.provider.name': PROVIDER,
      'gen_ai.request.model': request.model,
    };
    const { sampling } = request;
    const attributes = {
      ...this.#attributes,
      'gen_ai.request.temperature': sampling?.temperature,
      'gen_ai.request.top_p': sampling?.topP,
      'gen_ai.request.top_k': sampling?.topK,
      'gen_ai.request.max_tokens': sampling?.maxTokens,
    };
    const name = `${operation} ${request.model}`.trim();
    this.#span = tracer.startSpan(name, { kind: SpanKind.INTERNAL, attributes }, parent);
    this.#trace = trace.setSpan(parent, this.#span);
  }

  /** Milliseconds from the request's arrival to its first token, and from arrival to its first step. */
  get timings(): { timeToFirstTokenMs: number; durationMs: number; queueMs: number } {
    return {
      timeToFirstTokenMs: (this.#firstTokenAt ?? performance.now()) - this.#startedAt,
      durationMs: performance.now() - this.#startedAt,
      queueMs: this.#queueMs,
    };
  }

  /** The model that answers and the prompt's length are known. */
  admitted(model: string, inputTokens: number): void {
    this.#attributes['gen_ai.response.model'] = model;
    this.#span.setAttributes({ 'gen_ai.response.model': model, 'gen_ai.usage.input_tokens': inputTokens });
    genAi.tokenUsage.record(inputTokens, { ...this.#attributes, 'gen_ai.token.type': 'input' });
  }

  /** One event of the engine: its step becomes a span, or a part of the span of decode steps. */
  step({ step, tokens }: RequestEvent): void {
    const now = performance.now();
    if (tokens > 0) {
      this.#outputTokens += tokens;
      this.#lastTokenAt = now;
      if (this.#firstTokenAt === undefined) {
        this.#firstTokenAt = now;
        this.#queueMs = Math.max(0, now - this.#startedAt - (Date.now() - step.startedAt));
        genAi.timeToFirstToken.record((now - this.#startedAt) / 1000, this.#attributes);
      }
    }
    const startTime = step.startedAt;
    const endedAt = startTime + step.durationMs;
    if (step.kind === 'prefill') {
      const attributes = { 'landfall.step.rows': step.rows, 'landfall.step.tokens': step.tokens };
      tracer.startSpan('model step prefill', { startTime, attributes }, this.#trace).end(endedAt);
      return;
    }
    this.#decode ??= {
      span: tracer.startSpan('model steps decode', { startTime }, this.#trace),
      steps: 0,
      rows: 0,
      endedAt,
    };
    this.#decode.steps++;
    this.#decode.rows += step.rows;
    this.#decode.endedAt = endedAt;
  }

  /** The generation has ended, with a finish reason or an error. */
  end(outcome: Outcome): void {
    const { durationMs } = this.timings;
    const attributes = { ...this.#attributes };
    if ('error' in outcome) {
      const type = outcome.error instanceof Error ? outcome.error.name : 'Error';
      attributes['error.type'] = type;
      this.#span.setStatus({ code: SpanStatusCode.ERROR, message: type });
    } else {
      this.#span.setAttribute('gen_ai.response.finish_reasons', [outcome.finishReason]);
    }
    genAi.requestDuration.record(durationMs / 1000, attributes);
    if (this.#outputTokens > 1) {
      const seconds = (this.#lastTokenAt - this.#firstTokenAt!) / 1000 / (this.#outputTokens - 1);
      genAi.timePerOutputToken.record(seconds, this.#attributes);
    }
    if (this.#outputTokens > 0) {
      genAi.tokenUsage.record(this.#outputTokens, { ...this.#attributes, 'gen_ai.token.type': 'output' });
    }
    if (this.#decode) {
      const { span, steps, rows, endedAt } = this.#decode;
      span.setAttributes({ 'landfall.steps': steps, 'landfall.steps.mean_rows': rows / steps }).end(endedAt);
    }
    this.#span.setAttribute('gen_ai.usage.output_tokens', this.#outputTokens).end();
  }
}
