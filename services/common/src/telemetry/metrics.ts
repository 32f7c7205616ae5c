import type { status } from '@grpc/grpc-js';
import {
  type Attributes,
  type Histogram,
  type MeterProvider,
  type MetricOptions,
  metrics,
  type ObservableResult,
} from '@opentelemetry/api';

/**
 * A histogram that can be made when its module is loaded. OpenTelemetry's API binds an instrument for good to the
 * provider of that moment, and modules are loaded before a service has set up its telemetry.
 */
class LateHistogram {
  readonly #name: string;
  readonly #options: MetricOptions;
  #histograms: Histogram[] = [];

  constructor(name: string, options: MetricOptions) {
    this.#name = name;
    this.#options = options;
    this.bind([metrics.getMeterProvider()]);
  }

  bind(providers: readonly MeterProvider[]): void {
    this.#histograms = providers.map((provider) =>
      provider.getMeter('landfall').createHistogram(this.#name, this.#options),
    );
  }

  record(value: number, attributes?: Attributes): void {
    for (const histogram of this.#histograms) histogram.record(value, attributes);
  }
}

const histograms: LateHistogram[] = [];

function histogram(name: string, unit: string, description: string, boundaries: number[]): LateHistogram {
  const made = new LateHistogram(name, {
    unit,
    description,
    advice: { explicitBucketBoundaries: boundaries },
  });
  histograms.push(made);
  return made;
}

let bound: readonly MeterProvider[] = [];

/** A figure and what it is filed under. */
export type Observation = readonly [value: number, attributes: Attributes];

/**
 * A figure that is looked at when it is read. For services whose telemetry has started.
 * @param kind a counter only grows
 * @returns ends it
 */
export function observe(
  kind: 'counter' | 'gauge',
  name: string,
  options: MetricOptions,
  look: () => Iterable<Observation>,
): () => void {
  const observed = (result: ObservableResult) => {
    for (const [value, attributes] of look()) result.observe(value, attributes);
  };
  const instruments = bound.map((provider) => {
    const meter = provider.getMeter('landfall');
    return kind === 'counter'
      ? meter.createObservableCounter(name, options)
      : meter.createObservableGauge(name, options);
  });
  for (const instrument of instruments) instrument.addCallback(observed);
  return () => {
    for (const instrument of instruments) instrument.removeCallback(observed);
  };
}

/** Hands all figures from now on to these providers. */
export function bindMetrics(providers: readonly MeterProvider[]): void {
  bound = providers;
  for (const each of histograms) each.bind(providers);
}

const rpcDuration = histogram(
  'rpc.server.duration',
  's',
  'Duration of incoming calls',
  [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
);

/** What the figures of a call are filed under. */
interface MeasuredRoute {
  service: string;
  method: { name: string };
}

/** Attributes by route and code, made once: a call on the hot path allocates none. */
const rpcAttributes = new WeakMap<MeasuredRoute, Attributes[]>();

/** @param value seconds from the call's arrival to its end */
export function rpcServerDuration(value: number, route: MeasuredRoute, code: status): void {
  let byCode = rpcAttributes.get(route);
  if (!byCode) {
    byCode = [];
    rpcAttributes.set(route, byCode);
  }
  byCode[code] ??= {
    'rpc.service': route.service,
    'rpc.method': route.method.name,
    'rpc.grpc.status_code': code,
  };
  rpcDuration.record(value, byCode[code]);
}

/** OpenTelemetry's GenAI metrics, by their names in the semantic conventions. */
export const genAi = {
  requestDuration: histogram(
    'gen_ai.server.request.duration',
    's',
    'Duration of a generation',
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
  ),
  timeToFirstToken: histogram(
    'gen_ai.server.time_to_first_token',
    's',
    'From arrival to the first token',
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  ),
  timePerOutputToken: histogram(
    'gen_ai.server.time_per_output_token',
    's',
    'Between tokens after the first',
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
  ),
  tokenUsage: histogram(
    'gen_ai.client.token.usage',
    '{token}',
    'Tokens of a generation, input and output apart',
    [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536],
  ),
};
