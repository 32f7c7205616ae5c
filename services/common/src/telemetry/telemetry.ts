import { setTimeout as delay } from 'node:timers/promises';
import { context, metrics, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { ATTR_SERVICE_NAME } from '@opentelemetry/semantic-conventions';
import { exportsOtlp } from '../config/telemetry-config.ts';
import { watchEventLoop } from './event-loop.ts';
import { bindMetrics } from './metrics.ts';
import { PassingTracerProvider } from './passing-tracer.ts';
import { servePrometheus } from './prometheus.ts';

export interface Telemetry {
  /** URL of the Prometheus endpoint; empty without one. */
  metricsUrl: string;
  stop(): Promise<void>;
}

const FLUSH_MS = 3_000;

/**
 * Traces, metrics and their context for one process. Trace ids pass through and stand in the logs always; spans are
 * recorded and exported over OTLP where the standard OTEL_* variables name an endpoint, and cost little where they
 * don't.
 * @param metricsPort of the Prometheus endpoint on loopback (`/metrics`); 0 takes a free one, -1 has none
 */
export async function startTelemetry(service: string, metricsPort: number): Promise<Telemetry> {
  const prometheus = metricsPort < 0 ? undefined : new PrometheusExporter({ preventServerStart: true });
  const resource = resourceFromAttributes({ [ATTR_SERVICE_NAME]: service });
  const meters = new MeterProvider({ resource, readers: prometheus ? [prometheus] : [] });
  const stops = [() => meters.shutdown()];
  const unwatch = prometheus ? watchEventLoop(meters) : () => {};
  if (exportsOtlp(process.env)) {
    // Loaded only here: the whole SDK takes half a second that every start would pay.
    const { NodeSDK } = await import('@opentelemetry/sdk-node');
    // Its own readers come from the environment; Prometheus' reader would replace them, so it has a provider beside.
    const sdk = new NodeSDK({ serviceName: service });
    sdk.start();
    stops.push(() => sdk.shutdown());
  } else {
    metrics.setGlobalMeterProvider(meters);
    trace.setGlobalTracerProvider(new PassingTracerProvider());
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  }
  bindMetrics([...new Set([meters, metrics.getMeterProvider()])]);
  const endpoint = prometheus ? await servePrometheus(prometheus, metricsPort) : undefined;
  const stop = async () => {
    unwatch();
    await endpoint?.close();
    // A collector that does not answer must not hold or fail the end of a service.
    const flushed = Promise.allSettled(stops.map((each) => each()));
    await Promise.race([flushed, delay(FLUSH_MS, undefined, { ref: false })]);
  };
  return { metricsUrl: endpoint?.url ?? '', stop };
}
