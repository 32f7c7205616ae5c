import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readServiceConfig, type TlsConfig } from '../src/config/service-config.ts';
import { checkHealth } from '../src/rpc/health-client.ts';
import { connect, serve } from './echo.ts';

function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const usable = hasOpenssl();
if (!usable) console.log('mutual TLS is not tested: openssl, which makes the certificates, is not installed');

describe.runIf(usable)('mutual TLS', () => {
  let folder: string;
  let mesh: TlsConfig;
  let stranger: TlsConfig;

  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  const read = (name: string) => readFileSync(join(folder, name));

  /** An authority, and a certificate of 127.0.0.1 that it has signed. */
  function issue(name: string): TlsConfig {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    openssl(
      'req',
      '-x509',
      ...key,
      '-keyout',
      `${name}-ca.key`,
      '-out',
      `${name}-ca.pem`,
      '-days',
      '1',
      '-subj',
      `/CN=${name}-ca`,
    );
    openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    writeFileSync(join(folder, 'san.txt'), 'subjectAltName=IP:127.0.0.1,DNS:localhost');
    const signed = [
      '-CA',
      `${name}-ca.pem`,
      '-CAkey',
      `${name}-ca.key`,
      '-CAcreateserial',
      '-extfile',
      'san.txt',
    ];
    openssl('x509', '-req', '-in', `${name}.csr`, ...signed, '-out', `${name}.pem`, '-days', '1');
    return { cert: read(`${name}.pem`), key: read(`${name}.key`), ca: read(`${name}-ca.pem`) };
  }

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'landfall-tls-'));
    mesh = issue('mesh');
    stranger = issue('stranger');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('services whose certificates one authority has signed talk', async () => {
    const { address } = await serve({}, { tls: mesh });
    expect((await connect(address, { tls: mesh }).echo({ text: 'sealed' })).echo?.text).toBe('sealed');
    expect(await checkHealth(address, 'readiness', { tls: mesh })).toBe(true);
  });

  test('a caller without a certificate, or with one of another authority, gets nowhere', async () => {
    const { address } = await serve({}, { tls: mesh });
    const refused = { code: status.UNAVAILABLE };
    const once = { attempts: 1, timeoutMs: 5_000 };
    await expect(connect(address).echo({}, once)).rejects.toMatchObject(refused);
    await expect(connect(address, { tls: stranger }).echo({}, once)).rejects.toMatchObject(refused);
    // It trusts the server, but the server does not know it.
    const halfKnown = { ...stranger, ca: mesh.ca };
    await expect(connect(address, { tls: halfKnown }).echo({}, once)).rejects.toMatchObject(refused);
    expect(await checkHealth(address, 'readiness')).toBe(false);
  });

  test('a server that is not of the mesh is not believed', async () => {
    const { address } = await serve({}, { tls: { ...stranger, ca: mesh.ca } });
    await expect(connect(address, { tls: mesh }).echo({}, { attempts: 1 })).rejects.toMatchObject({
      code: status.UNAVAILABLE,
    });
  });

  test('the files are named by three variables, all or none', () => {
    writeFileSync(join(folder, 'mesh-key'), Buffer.alloc(32));
    const env = { LANDFALL_MESH_KEY_FILE: join(folder, 'mesh-key') };
    const files = {
      LANDFALL_TLS_CERT: join(folder, 'mesh.pem'),
      LANDFALL_TLS_KEY: join(folder, 'mesh.key'),
      LANDFALL_TLS_CA: join(folder, 'mesh-ca.pem'),
    };
    expect(readServiceConfig('x', env).tls).toBeUndefined();
    expect(readServiceConfig('x', { ...env, ...files }).tls).toEqual(mesh);
    const { LANDFALL_TLS_CA: _, ...two } = files;
    expect(() => readServiceConfig('x', { ...env, ...two })).toThrow('LANDFALL_TLS_CA is not set');
  });
});
