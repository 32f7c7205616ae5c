import type { status } from '@grpc/grpc-js';
import { type Attributes, metrics } from '@opentelemetry/api';

const meter = metrics.getMeter('landfall');
const seconds = (name: string, description: string, boundaries: number[]) =>
  meter.createHistogram(name, { unit: 's', description, advice: { explicitBucketBoundaries: boundaries } });

const rpcDuration = seconds(
  'rpc.server.duration',
  'Duration of incoming calls',
  [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
);

/** Attributes by method and code, made once: a call on the hot path allocates none. */
const rpcAttributes = new Map<string, Attributes>();

export function rpcServerDuration(value: number, service: string, method: string, code: status): void {
  const key = `${service}/${method}/${code}`;
  let attributes = rpcAttributes.get(key);
  if (!attributes) {
    attributes = { 'rpc.service': service, 'rpc.method': method, 'rpc.grpc.status_code': code };
    rpcAttributes.set(key, attributes);
  }
  rpcDuration.record(value, attributes);
}

/** OpenTelemetry's GenAI metrics, by their names in the semantic conventions. */
export const genAi = {
  requestDuration: seconds(
    'gen_ai.server.request.duration',
    'Duration of a generation',
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
  ),
  timeToFirstToken: seconds(
    'gen_ai.server.time_to_first_token',
    'From arrival to the first token',
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  ),
  timePerOutputToken: seconds(
    'gen_ai.server.time_per_output_token',
    'Between tokens after the first',
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
  ),
  tokenUsage: meter.createHistogram('gen_ai.client.token.usage', {
    unit: '{token}',
    description: 'Tokens of a generation, input and output apart',
    advice: { explicitBucketBoundaries: [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536] },
  }),
};
