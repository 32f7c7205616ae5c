/** An OpenID provider on loopback: discovery, keys that can be rotated, tokens. */

import type { webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose';

export const AUDIENCE = 'landfall';

interface SigningKey {
  kid: string;
  privateKey: webcrypto.CryptoKey;
  publicKey: webcrypto.CryptoKey;
  jwk: JWK;
}

export class OpenIdProvider implements AsyncDisposable {
  /** Times that keys were read. */
  reads = 0;
  /** Whether it answers nothing but errors. */
  isAway = false;
  readonly issuer: string;
  readonly #server: Server;
  #keys: SigningKey[] = [];
  #made = 0;

  private constructor(server: Server) {
    this.#server = server;
    this.issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => {
      const send = (body: unknown) =>
        response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
      if (this.isAway) response.writeHead(503).end();
      else if (request.url === '/.well-known/openid-configuration') {
        send({ issuer: this.issuer, jwks_uri: `${this.issuer}/keys` });
      } else if (request.url === '/keys') {
        this.reads += 1;
        send({ keys: this.#keys.map(({ jwk }) => jwk) });
      } else response.writeHead(404).end();
    });
  }

  static async start(): Promise<OpenIdProvider> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const provider = new OpenIdProvider(server);
    await provider.rotate();
    return provider;
  }

  /** A new key; the older ones are given out no longer. */
  async rotate(): Promise<void> {
    this.#keys = [await this.#makeKey()];
  }

  get key(): SigningKey {
    return this.#keys[0]!;
  }

  /** The public key in PEM, as somebody would misuse it for a shared secret. */
  publicPem(): Promise<string> {
    return exportSPKI(this.key.publicKey);
  }

  /** A good token, but for what is given. */
  token(
    claims: Record<string, unknown> = {},
    change = (jwt: SignJWT) => jwt,
    { key = this.key, header = {} }: { key?: SigningKey; header?: object } = {},
  ): Promise<string> {
    return change(
      new SignJWT({ email: 'alice@acme.example', ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: key.kid, ...header })
        .setIssuer(this.issuer)
        .setAudience(AUDIENCE)
        .setSubject('00u1')
        .setIssuedAt()
        .setExpirationTime('5m'),
    ).sign(key.privateKey);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #makeKey(): Promise<SigningKey> {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    this.#made += 1;
    const kid = `key-${this.#made}`;
    return { kid, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256' } };
  }
}
