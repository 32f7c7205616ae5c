import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { context, ROOT_CONTEXT, TraceFlags, trace } from '@opentelemetry/api';
import { expect, test } from 'vitest';
import { PassingTracerProvider } from '../src/telemetry/passing-tracer.ts';

/** Runs the program below with an environment; resolves with what it sends before it ends by itself. */
async function run(
  env: NodeJS.ProcessEnv,
): Promise<{ recording: boolean; metrics: string; closed: boolean }> {
  const child = fork(`${import.meta.dirname}/programs/telemetry.ts`, { env: { ...process.env, ...env } });
  const [[facts], [code]] = await Promise.all([once(child, 'message'), once(child, 'exit')]);
  expect(code).toBe(0);
  return facts;
}

const FIGURES = /rpc_server_duration_count\{[^}]*rpc_method="Echo"[^}]*\} 1\n/;
const GEN_AI = /gen_ai_server_time_to_first_token_count\{[^}]*\} 1\n/;

test('figures of instruments that were made before the start are served, until the stop', async () => {
  const { metrics, recording, closed } = await run({});
  expect(metrics).toMatch(FIGURES);
  expect(metrics).toMatch(GEN_AI);
  expect(recording).toBe(false);
  expect(closed).toBe(true);
});

test('OTLP by the standard variables gets spans and figures, and Prometheus keeps its own', async () => {
  const paths = new Set<string>();
  const collector = createServer((request, response) => {
    paths.add(request.url!);
    request.resume().on('end', () => response.end());
  });
  collector.listen(0, '127.0.0.1');
  await once(collector, 'listening');
  try {
    const { port } = collector.address() as AddressInfo;
    const { metrics, recording } = await run({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` });
    expect(recording).toBe(true);
    expect(metrics).toMatch(FIGURES);
    expect([...paths].sort()).toEqual(['/v1/metrics', '/v1/traces']);
  } finally {
    collector.close();
  }
});

test('a collector that is not there does not hold or fail the end', async () => {
  const { metrics } = await run({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' });
  expect(metrics).toMatch(FIGURES);
});

test('spans that nobody records pass the trace on as it came', () => {
  const tracer = new PassingTracerProvider().getTracer();
  const root = tracer.startSpan('root', {}, ROOT_CONTEXT).spanContext();
  expect(root.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(root.spanId).toMatch(/^[0-9a-f]{16}$/);
  const parent = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: TraceFlags.NONE };
  const child = tracer.startSpan('child', {}, trace.setSpanContext(ROOT_CONTEXT, parent)).spanContext();
  expect(child).toMatchObject({ traceId: parent.traceId, traceFlags: TraceFlags.NONE });
  expect(child.spanId).not.toBe(parent.spanId);
  const ids = Array.from({ length: 2000 }, () => tracer.startSpan('x', {}, ROOT_CONTEXT).spanContext());
  expect(new Set(ids.map(({ traceId, spanId }) => traceId + spanId)).size).toBe(2000);
  expect(tracer.startActiveSpan('named', (span) => span.spanContext().spanId)).toHaveLength(16);
  expect(tracer.startActiveSpan('named', { root: true }, context.active(), () => 7)).toBe(7);
});
