/** What telemetry.test.ts runs in a process of its own: telemetry is set up once a process. */
import { status } from '@grpc/grpc-js';
import { trace } from '@opentelemetry/api';
import { genAi, rpcServerDuration } from '../../src/telemetry/metrics.ts';
import { startTelemetry } from '../../src/telemetry/telemetry.ts';

const telemetry = await startTelemetry('test', 0);
rpcServerDuration(0.002, { service: 'landfall.mesh.v1.EchoService', method: { name: 'Echo' } }, status.OK);
genAi.timeToFirstToken.record(0.1, { 'gen_ai.request.model': 'models:/m/1.0.0' });
const span = trace.getTracer('test').startSpan('work');
const recording = span.isRecording();
span.end();
const metrics = await (await fetch(telemetry.metricsUrl)).text();
await telemetry.stop();
const closed = await fetch(telemetry.metricsUrl).then(
  () => false,
  () => true,
);
process.send!({ recording, metrics, closed });
process.disconnect();
