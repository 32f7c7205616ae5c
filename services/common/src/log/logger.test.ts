import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

const program = `
  import { context, trace } from '@opentelemetry/api';
  import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
  import { createLogger } from '@landfall/common/log/logger.ts';
  await startTelemetry('test', -1);
  const logger = createLogger('test', 'info');
  logger.debug('not written');
  logger.info({ name: 'two\\nlines\\r\\u2028three' }, 'a name\\nwith breaks');
  logger.info({ token: 'S3CRET', key: { apiKey: 'S3CRET', authorization: 'S3CRET' }, prompt: 'S3CRET' }, 'secrets');
  trace.getTracer('t').startActiveSpan('s', () => logger.warn({ err: new Error('broken') }, 'in a span'));
`;

test('one line of JSON an event on standard error, with trace ids and without secrets', () => {
  const args = ['--input-type=module-typescript', '-e', program];
  const script = `"${process.execPath}" "$@" 2>&1 >/dev/null`;
  const output = execFileSync('sh', ['-c', script, 'sh', ...args], { cwd: import.meta.dirname }).toString();
  const lines = output.trimEnd().split('\n');
  const events = lines.map((line) => JSON.parse(line));
  expect(events).toHaveLength(3);
  expect(events[0]).toMatchObject({ level: 'info', service: 'test', msg: 'a name\nwith breaks' });
  expect(output).not.toContain('S3CRET');
  expect(events[2]).toMatchObject({
    level: 'warn',
    trace_id: expect.stringMatching(/^[0-9a-f]{32}$/),
    span_id: expect.stringMatching(/^[0-9a-f]{16}$/),
    err: { message: 'broken' },
  });
});
