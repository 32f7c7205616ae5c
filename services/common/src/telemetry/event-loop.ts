import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { MeterProvider } from '@opentelemetry/api';

/** Between two looks at the loop; what blocks it for less is not seen. */
const RESOLUTION_MS = 10;
const NANOSECONDS = 1e6;

/**
 * Tells how long the event loop was blocked at most since the figures were last read.
 * @returns ends it
 */
export function watchEventLoop(provider: MeterProvider): () => void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  const gauge = provider.getMeter('landfall').createObservableGauge('landfall_event_loop_delay_max_ms', {
    description: 'Longest delay of the event loop since the last reading, in milliseconds',
  });
  gauge.addCallback((result) => {
    // What is measured is from one look to the next, so an idle loop has the resolution.
    result.observe(Math.max(0, delay.max / NANOSECONDS - RESOLUTION_MS));
    delay.reset();
  });
  delay.enable();
  return () => delay.disable();
}
