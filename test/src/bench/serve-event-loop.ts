import type { Report } from './report.ts';
import type { ServeOptions } from './serve.ts';
import { closedLoop, requestsOf } from './serve-load.ts';
import { ServiceProcesses } from './serve-replica.ts';

/** The longest delay of the service's event loop under the most streams that are asked for. */
export async function measure(report: Report, options: ServeOptions): Promise<void> {
  await using processes = new ServiceProcesses();
  const { target, metrics } = await processes.replica(options);
  const streams = Math.max(...options.streams);
  const round = () => closedLoop(target, requestsOf(streams, options), options.prompt);
  await round();
  // Reading forgets what was before, the load of the model for one.
  await longestDelay(metrics);
  for (let i = 0; i < options.rounds; i++) await round();
  report.figure('event-loop.longest-delay', await longestDelay(metrics), 'ms');
}

async function longestDelay(metrics: string): Promise<number> {
  const text = await (await fetch(metrics)).text();
  const [, value] = /^landfall_event_loop_delay_max_ms(?:\{[^}]*\})? (\S+)/m.exec(text) ?? [];
  if (value === undefined) throw new Error(`${metrics} has no landfall_event_loop_delay_max_ms`);
  return Number(value);
}
