import { context, metrics, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { TracerProvider } from '@opentelemetry/sdk-trace';
import { ATTR_SERVICE_NAME } from '@opentelemetry/semantic-conventions';

export interface Telemetry {
  /** URL of the Prometheus endpoint; empty without one. */
  metricsUrl: string;
  stop(): Promise<void>;
}

/** Whether the standard variables ask for OTLP. */
function exportsOtlp(env: NodeJS.ProcessEnv): boolean {
  return Object.keys(env).some((name) => /^OTEL_EXPORTER_OTLP_(\w+_)?ENDPOINT$/.test(name) && env[name]);
}

/**
 * Traces, metrics and their context for one process. Trace ids pass through and stand in the logs always; spans are
 * exported over OTLP where the standard OTEL_* variables name an endpoint, and cost little where they don't.
 * @param metricsPort of the Prometheus endpoint on loopback (`/metrics`); 0 takes a free one, -1 has none
 */
export async function startTelemetry(service: string, metricsPort: number): Promise<Telemetry> {
  const prometheus = metricsPort < 0 ? undefined : new PrometheusExporter({ preventServerStart: true });
  let stop: () => Promise<void>;
  if (exportsOtlp(process.env)) {
    // Loaded only here: the whole SDK takes half a second that every start would pay.
    const { NodeSDK } = await import('@opentelemetry/sdk-node');
    const sdk = new NodeSDK({ serviceName: service, ...(prometheus ? { metricReaders: [prometheus] } : {}) });
    sdk.start();
    stop = () => sdk.shutdown();
  } else {
    const resource = resourceFromAttributes({ [ATTR_SERVICE_NAME]: service });
    const meters = new MeterProvider({ resource, readers: prometheus ? [prometheus] : [] });
    metrics.setGlobalMeterProvider(meters);
    trace.setGlobalTracerProvider(new TracerProvider({ resource }));
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    stop = () => meters.shutdown();
  }
  const metricsUrl = prometheus ? await servePrometheus(prometheus, metricsPort) : '';
  return { metricsUrl, stop };
}

async function servePrometheus(exporter: PrometheusExporter, port: number): Promise<string> {
  const { createServer } = await import('node:http');
  const server = createServer((request, response) => {
    if (request.url === '/metrics') exporter.getMetricsRequestHandler(request, response);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  // The endpoint must not hold a process that has nothing else to do.
  server.unref();
  const address = server.address();
  return address && typeof address === 'object' ? `http://127.0.0.1:${address.port}/metrics` : '';
}
