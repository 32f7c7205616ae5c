import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { addressVar, booleanVar, ConfigError, choiceVar, integerVar, stringVar, urlVar } from './env.ts';
import { readServiceConfig } from './service-config.ts';
import { exportsOtlp } from './telemetry-config.ts';

const folder = mkdtempSync(join(tmpdir(), 'landfall-config-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const keyFile = join(folder, 'mesh.key');
writeFileSync(keyFile, Buffer.alloc(32, 7));
const enough = { LANDFALL_MESH_KEY_FILE: keyFile };

test('everything but the mesh key has a default', () => {
  expect(readServiceConfig('registry', enough)).toEqual({
    name: 'registry',
    home: join('.landfall', 'registry'),
    listen: { host: '127.0.0.1', port: 0 },
    natsUrl: 'nats://127.0.0.1:4222',
    databaseUrl: '',
    meshKey: Buffer.alloc(32, 7),
    tls: undefined,
    metricsPort: 0,
    logLevel: 'info',
    graceMs: 10_000,
    endWithParent: false,
  });
});

test.each([
  ['LANDFALL_MESH_KEY_FILE', join(folder, 'absent'), 'cannot be read (ENOENT)'],
  ['LANDFALL_MESH_KEY_FILE', '', 'is not set'],
  ['LANDFALL_LISTEN', '127.0.0.1', 'give host:port'],
  ['LANDFALL_LISTEN', '127.0.0.1:', 'give host:port'],
  ['LANDFALL_LISTEN', ':80', 'give host:port'],
  ['LANDFALL_LISTEN', 'localhost:99999', 'give host:port'],
  ['LANDFALL_LISTEN', 'localhost:0x50', 'give host:port'],
  ['LANDFALL_DATABASE_URL', 'mysql://root:secret@host/x', 'postgres:// or postgresql://'],
  ['LANDFALL_LOG_LEVEL', 'loud', 'give one of fatal, error, warn'],
  ['LANDFALL_GRACE_MS', '-1', 'from 0 to 3600000'],
  ['LANDFALL_GRACE_MS', '1e3', 'give a whole number'],
  ['LANDFALL_GRACE_MS', '1.5', 'give a whole number'],
  ['LANDFALL_METRICS_PORT', '65536', 'from -1 to 65535'],
  ['LANDFALL_END_WITH_PARENT', 'yes', 'give true or false'],
  ['LANDFALL_TLS_KEY', keyFile, 'LANDFALL_TLS_CERT is not set'],
])('%s=%s is refused by its name', (name, value, message) => {
  const read = () => readServiceConfig('registry', { ...enough, [name]: value });
  expect(read).toThrow(ConfigError);
  expect(read).toThrow(message);
  expect(read).not.toThrow(/secret/);
});

test('a mesh key that is too short is refused by the name of its variable', () => {
  const short = join(folder, 'short.key');
  writeFileSync(short, 'short');
  expect(() => readServiceConfig('registry', { LANDFALL_MESH_KEY_FILE: short })).toThrow(
    'LANDFALL_MESH_KEY_FILE names a file of 5 bytes',
  );
});

test('values are read as what they are', () => {
  const env = { A: 'x', N: '-5', B: '0', H: '[::1]:50051', C: 'red', U: 'postgres://h/db', E: '' };
  expect(stringVar(env, 'A')).toBe('x');
  expect(stringVar(env, 'E', 'fallback')).toBe('fallback');
  expect(integerVar(env, 'N', 1, -10, 10)).toBe(-5);
  expect(integerVar(env, 'absent', 1, -10, 10)).toBe(1);
  expect(booleanVar(env, 'B', true)).toBe(false);
  expect(addressVar(env, 'H')).toEqual({ host: '[::1]', port: 50051 });
  expect(choiceVar(env, 'C', 'blue', ['red', 'blue'])).toBe('red');
  expect(urlVar(env, 'U', '', ['postgres'])).toBe('postgres://h/db');
});

test('OTLP is on where a standard variable names an endpoint', () => {
  expect(exportsOtlp({})).toBe(false);
  expect(exportsOtlp({ OTEL_EXPORTER_OTLP_ENDPOINT: '' })).toBe(false);
  expect(exportsOtlp({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' })).toBe(true);
  expect(exportsOtlp({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://127.0.0.1:4318' })).toBe(true);
  expect(exportsOtlp({ OTEL_EXPORTER_OTLP_ENDPOINT: 'x', OTEL_SDK_DISABLED: 'true' })).toBe(false);
});
