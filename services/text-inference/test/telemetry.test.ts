import { context, metrics, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { expect, test } from 'vitest';
import { writeTokenizer } from './tiny-model.ts';

const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(
  new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }),
);
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({
  exporter: metricExporter,
  exportIntervalMillis: 3_600_000,
});
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
// Instruments are made when their module is loaded, and belong to the provider of that moment.
const { fakeRunnerModule, TestFolder, TestReplica, testConfig, until } = await import('./harness.ts');

test('one trace from the caller to the steps of the model, and GenAI metrics, without any content', async () => {
  using folder = new TestFolder();
  writeTokenizer(folder.join('base'));
  const more = { modelFolder: folder.join('base'), runnerModule: fakeRunnerModule };
  await using replica = await TestReplica.start(testConfig(folder.join('home'), more));

  const caller = trace.getTracer('test').startSpan('caller');
  const request = {
    model: 'models:/base/1.0.0',
    messages: [{ role: 'user', content: 'my secret illness' }],
    sampling: { maxTokens: 5, ignoreEos: true, temperature: 0.5 },
  };
  await context.with(trace.setSpan(context.active(), caller), () =>
    Array.fromAsync(replica.client.generate(request)),
  );
  caller.end();
  const { traceId } = caller.spanContext();
  const spans = () => exporter.getFinishedSpans().filter((s) => s.spanContext().traceId === traceId);
  await until(() => spans().some((s) => s.name.endsWith('/Generate')));

  const named = (name: string) => spans().find((s) => s.name === name)!;
  const chat = named('chat models:/base/1.0.0');
  const rpc = named('landfall.text.v1.TextInferenceService/Generate');
  expect(chat.parentSpanContext?.spanId).toBe(rpc.spanContext().spanId);
  expect(chat.attributes).toMatchObject({
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': 'landfall',
    'gen_ai.request.model': 'models:/base/1.0.0',
    'gen_ai.response.model': 'models:/base/1.0.0',
    'gen_ai.request.temperature': 0.5,
    'gen_ai.request.max_tokens': 5,
    'gen_ai.usage.output_tokens': 5,
    'gen_ai.response.finish_reasons': ['length'],
  });
  for (const name of ['model step prefill', 'model steps decode']) {
    expect(named(name).parentSpanContext?.spanId, name).toBe(chat.spanContext().spanId);
  }
  expect(named('model steps decode').attributes['landfall.steps']).toBe(4);
  expect(JSON.stringify(spans().map((s) => [s.name, s.attributes, s.events]))).not.toContain('secret');

  await reader.forceFlush();
  const recorded = metricExporter
    .getMetrics()
    .flatMap((resource) => resource.scopeMetrics)
    .flatMap((scope) => scope.metrics);
  const points = (name: string) => recorded.find((m) => m.descriptor.name === name)?.dataPoints ?? [];
  for (const name of ['request.duration', 'time_to_first_token', 'time_per_output_token']) {
    expect(points(`gen_ai.server.${name}`), name).toMatchObject([
      {
        attributes: { 'gen_ai.operation.name': 'chat', 'gen_ai.response.model': 'models:/base/1.0.0' },
        value: { count: 1 },
      },
    ]);
  }
  const usage = points('gen_ai.client.token.usage').map(({ attributes, value }) => [
    attributes['gen_ai.token.type'],
    (value as { sum: number }).sum,
  ]);
  expect(usage).toEqual([
    ['input', 21],
    ['output', 5],
  ]);
  expect(JSON.stringify(recorded)).not.toContain('secret');
});
