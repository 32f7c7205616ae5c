import type { Env } from './env.ts';

/** Whether OpenTelemetry's standard variables name an OTLP endpoint; the SDK reads them itself. */
export function exportsOtlp(env: Env): boolean {
  if (env.OTEL_SDK_DISABLED === 'true') return false;
  return Object.keys(env).some((name) => /^OTEL_EXPORTER_OTLP_(\w+_)?ENDPOINT$/.test(name) && env[name]);
}
