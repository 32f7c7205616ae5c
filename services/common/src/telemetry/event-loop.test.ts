import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { expect, test } from 'vitest';
import { watchEventLoop } from './event-loop.ts';

test('the longest delay of the event loop is told once', async () => {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const provider = new MeterProvider({ readers: [exporter] });
  const end = watchEventLoop(provider);
  const read = async () => {
    const { resourceMetrics } = await exporter.collect();
    const [metric] = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics);
    expect(metric!.descriptor.name).toBe('landfall_event_loop_delay_max_ms');
    return metric!.dataPoints[0]!.value as number;
  };
  await read();
  // The watch sees a block that its timer was due in.
  await new Promise((resolve) => setTimeout(resolve, 20));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
  let longest = 0;
  while (longest < 900)
    longest = Math.max(longest, await new Promise((next) => setTimeout(() => next(read()), 10)));
  expect(await read()).toBeLessThan(longest);
  end();
  await provider.shutdown();
});
