/** The door itself: TLS with renewal, client certificates, pages of other origins, headers of every answer. */

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GatewayMesh } from './harness.ts';

const ORIGIN = 'https://console.acme.example';
const LIST = '/landfall.registry.v1.RegistryService/ListModels';
const JSON_TYPE = { 'content-type': 'application/json' };

function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe('without TLS', () => {
  let mesh: GatewayMesh | undefined;
  beforeAll(async () => {
    mesh = await GatewayMesh.start({
      async *generate() {},
      registry: { listModels: () => ({}) },
      env: { LANDFALL_CORS_ORIGINS: ORIGIN },
    });
  });
  afterAll(() => mesh?.[Symbol.asyncDispose]());

  test('every answer says that it is data and which request it answers', async (t) => {
    if (!mesh) return t.skip();
    const authorization = `Bearer ${mesh.apiKey}`;
    const asks: [string, RequestInit][] = [
      ['/livez', {}],
      ['/nowhere', {}],
      ['/v1/models', { headers: { authorization } }],
      ['/v1/models', {}],
      [LIST, { method: 'POST', body: '{}', headers: JSON_TYPE }],
      [LIST, { method: 'POST', body: '{}', headers: { ...JSON_TYPE, authorization } }],
    ];
    for (const [path, init] of asks) {
      const { headers } = await fetch(mesh.url + path, init);
      expect([path, headers.get('x-content-type-options')]).toEqual([path, 'nosniff']);
      expect(headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(headers.get('x-request-id')).toMatch(/^[0-9a-f-]{32,36}$/);
      expect(headers.get('strict-transport-security')).toBeNull();
    }
  });

  test('a trace that came in goes on, and its id is the request’s', async (t) => {
    if (!mesh) return t.skip();
    const id = '4bf92f3577b34da6a3ce929d0e0e4736';
    const { headers } = await fetch(mesh.url + LIST, {
      ...{ method: 'POST', body: '{}' },
      headers: {
        ...JSON_TYPE,
        authorization: `Bearer ${mesh.apiKey}`,
        traceparent: `00-${id}-00f067aa0ba902b7-01`,
      },
    });
    expect(headers.get('x-request-id')).toBe(id);
  });

  test('pages of allowed origins may read answers, and others may not', async (t) => {
    if (!mesh) return t.skip();
    const preflight = (origin: string) =>
      fetch(mesh!.url + LIST, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'POST' },
      });
    const { status, headers } = await preflight(ORIGIN);
    expect([status, headers.get('access-control-allow-origin')]).toEqual([204, ORIGIN]);
    expect(headers.get('access-control-allow-headers')).toContain('Authorization');
    expect(headers.get('access-control-allow-credentials')).toBeNull();
    for (const origin of [
      'null',
      'https://evil.example',
      `${ORIGIN}.evil.example`,
      ORIGIN.replace('https', 'http'),
    ]) {
      const refused = await preflight(origin);
      expect([origin, refused.headers.get('access-control-allow-origin')]).toEqual([origin, null]);
      // A cookie is nobody's credential.
      const asked = await fetch(mesh.url + LIST, {
        ...{ method: 'POST', body: '{}' },
        headers: { ...JSON_TYPE, origin, cookie: `authorization=Bearer ${mesh.apiKey}` },
      });
      expect([asked.status, asked.headers.get('access-control-allow-origin')]).toEqual([401, null]);
    }
    const answer = await fetch(mesh.url + LIST, {
      ...{ method: 'POST', body: '{}' },
      headers: { ...JSON_TYPE, origin: ORIGIN, authorization: `Bearer ${mesh.apiKey}` },
    });
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([200, ORIGIN]);
    expect(answer.headers.get('vary')).toContain('Origin');
  });
});

describe.runIf(hasOpenssl())('with TLS', () => {
  let folder: string;
  let mesh: GatewayMesh | undefined;
  let seen: Identity | undefined;

  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  const read = (name: string) => readFileSync(join(folder, name));
  const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

  function authority(name: string): void {
    openssl(
      'req',
      '-x509',
      ...KEY,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
      '-days',
      '1',
      '-subj',
      `/CN=${name}`,
    );
  }
  /** A certificate with names, signed by an authority. */
  function issue(name: string, ca: string, names: string): void {
    writeFileSync(join(folder, 'names.txt'), `subjectAltName=${names}`);
    openssl('req', ...KEY, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/O=acme/CN=${name}`);
    const signed = ['-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial', '-extfile', 'names.txt'];
    openssl('x509', '-req', '-in', `${name}.csr`, ...signed, '-out', `${name}.pem`, '-days', '1');
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'landfall-edge-'));
    for (const name of ['ca', 'evil']) authority(name);
    for (const name of ['first', 'second']) issue(name, 'ca', 'IP:127.0.0.1');
    issue('ci', 'ca', 'URI:spiffe://acme/ci');
    issue('unknown', 'ca', 'URI:spiffe://acme/unknown');
    issue('forged', 'evil', 'URI:spiffe://acme/ci');
    copyFileSync(join(folder, 'first.pem'), join(folder, 'server.pem'));
    copyFileSync(join(folder, 'first.key'), join(folder, 'server.key'));
    mesh = await GatewayMesh.start({
      async *generate() {},
      registry: {
        listModels: (_, { identity }) => {
          seen = identity;
          return {};
        },
      },
      env: {
        LANDFALL_GATEWAY_TLS_CERT: join(folder, 'server.pem'),
        LANDFALL_GATEWAY_TLS_KEY: join(folder, 'server.key'),
        LANDFALL_GATEWAY_TLS_CLIENT_CA: join(folder, 'ca.pem'),
      },
    });
  }, 120_000);
  afterAll(async () => {
    await mesh?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  const port = () => Number(new URL(mesh!.url).port);
  const client = (name?: string) => ({
    ca: read('ca.pem'),
    ...(name ? { cert: read(`${name}.pem`), key: read(`${name}.key`) } : {}),
  });

  /** HTTP/1.1 */
  function post(path: string, body: object, options: { name?: string; secret?: string } = {}) {
    const headers = {
      ...JSON_TYPE,
      ...(options.secret ? { authorization: `Bearer ${options.secret}` } : {}),
    };
    return new Promise<{ status: number; hsts: unknown }>((resolve, reject) => {
      const request = httpsRequest(
        {
          port: port(),
          host: '127.0.0.1',
          path,
          method: 'POST',
          headers,
          agent: false,
          ...client(options.name),
        },
        (response) => {
          response.resume();
          response.on('end', () =>
            resolve({ status: response.statusCode!, hsts: response.headers['strict-transport-security'] }),
          );
        },
      );
      request.on('error', reject);
      request.end(JSON.stringify(body));
    });
  }

  /** HTTP/2 */
  async function http2Status(name?: string): Promise<number> {
    const session = connectHttp2(`https://127.0.0.1:${port()}`, client(name));
    try {
      return await new Promise<number>((resolve, reject) => {
        session.on('error', reject);
        session.on('close', () => reject(new Error('closed')));
        const stream = session.request({ ':method': 'POST', ':path': LIST, ...JSON_TYPE });
        stream.on('response', (headers) => resolve(Number(headers[':status'])));
        stream.on('error', reject);
        stream.end('{}');
      });
    } finally {
      session.destroy();
    }
  }

  test('a machine is the service account that its certificate names, in both protocols', async (t) => {
    if (!mesh) return t.skip();
    const account = { subject: 'account:ci', roles: ['viewer'], certificates: ['URI:spiffe://acme/ci'] };
    const set = '/landfall.gateway.v1.IdentityService/SetMember';
    const made = await post(set, { member: account }, { secret: mesh.apiKey });
    expect(made).toMatchObject({ status: 200, hsts: expect.stringContaining('max-age') });
    expect((await post(LIST, {}, { name: 'ci' })).status).toBe(200);
    expect(seen).toMatchObject({ subject: 'account:ci', tenant: 'default', role: Role.VIEWER });
    expect(await http2Status('ci')).toBe(200);
    for (const name of ['unknown', undefined]) {
      expect((await post(LIST, {}, name ? { name } : {})).status).toBe(401);
      expect(await http2Status(name)).toBe(401);
    }
    // One that no authority here vouches for gets no answer.
    await expect(post(LIST, {}, { name: 'forged' })).rejects.toThrow();
    await expect(http2Status('forged')).rejects.toThrow();
  });

  const open = () =>
    new Promise<TLSSocket>((resolve, reject) => {
      const socket = connectTls({ port: port(), host: '127.0.0.1', ...client() }, () => resolve(socket));
      socket.on('error', reject);
    });

  test('a new certificate is shown to new connections, and the open ones go on', async (t) => {
    if (!mesh) return t.skip();
    const old = connectHttp2(`https://127.0.0.1:${port()}`, client());
    const alive = () =>
      new Promise<number>((resolve, reject) => {
        const stream = old.request({ ':path': '/livez' });
        stream.on('response', (headers) => resolve(Number(headers[':status'])));
        stream.on('error', reject);
        stream.resume();
      });
    expect(await alive()).toBe(200);
    const now = async () => {
      const socket = await open();
      const shown = socket.getPeerCertificate().serialNumber;
      socket.destroy();
      return shown;
    };
    const before = await now();
    writeFileSync(join(folder, 'server.pem'), 'no certificate');
    copyFileSync(join(folder, 'second.key'), join(folder, 'server.key'));
    copyFileSync(join(folder, 'second.pem'), join(folder, 'server.pem'));
    await expect.poll(now, { timeout: 30_000 }).not.toBe(before);
    expect(await alive()).toBe(200);
    old.destroy();
  }, 60_000);
});
