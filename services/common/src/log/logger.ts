import { trace } from '@opentelemetry/api';
import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** What must not be read in a log, at the top of an event and one step below. */
const SECRETS = ['secret', 'apiKey', 'token', 'authorization', 'password', 'cookie', 'prompt', 'content'];

/**
 * A logger that writes one line of JSON an event to standard error, with the ids of the current trace. Never hand
 * it prompts, answers, personal data or secrets.
 */
export function createLogger(service: string, level: string): Logger {
  return pino(
    {
      level,
      base: { service, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: SECRETS.flatMap((name) => [name, `*.${name}`]),
      mixin: () => {
        const context = trace.getActiveSpan()?.spanContext();
        return context ? { trace_id: context.traceId, span_id: context.spanId } : {};
      },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}
