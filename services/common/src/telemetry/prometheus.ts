import { createServer } from 'node:http';
import type { PrometheusExporter } from '@opentelemetry/exporter-prometheus';

export interface PrometheusEndpoint {
  url: string;
  close(): Promise<void>;
}

/** Serves `/metrics` on loopback; port 0 takes a free one. */
export async function servePrometheus(
  exporter: PrometheusExporter,
  port: number,
): Promise<PrometheusEndpoint> {
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
  const bound = address && typeof address === 'object' ? address.port : port;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url: `http://127.0.0.1:${bound}/metrics`, close };
}
