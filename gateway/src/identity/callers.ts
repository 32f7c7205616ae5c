import { unauthenticated } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { EdgeCall } from '../edge/governance.ts';
import type { KeyStore } from '../keys/key-store.ts';
import type { CertificateCallers } from './certificate-callers.ts';
import type { Directory } from './directory.ts';
import type { TokenCallers } from './token-callers.ts';

const BEARER = /^Bearer ([!-~]{1,16384})$/i;
const isJwt = (credential: string): boolean => credential.split('.', 4).length === 3;

/** Ways in which a caller may say who they are. */
export interface Ways {
  keys: KeyStore;
  tokens: TokenCallers;
  certificates: CertificateCallers;
  directory: Directory;
}

/** Who calls: by an API key or a token of an OpenID provider, and where there is neither, by a client certificate. */
export class Callers {
  readonly #ways: Ways;

  constructor(ways: Ways) {
    this.#ways = ways;
  }

  /** @throws LandfallError UNAUTHENTICATED, or UNAVAILABLE where what it takes to know can not be read */
  identify(call: EdgeCall): Promise<Identity> {
    const { keys, tokens, certificates } = this.#ways;
    const authorization = call.header('authorization');
    if (authorization === null) {
      const names = call.certificate?.() ?? [];
      if (names.length > 0) return certificates.authenticate(names);
    }
    const credential = BEARER.exec(authorization ?? '')?.[1];
    if (!credential) {
      throw unauthenticated(
        'give a valid API key, or a token of an OpenID provider, as `Authorization: Bearer KEY`',
      );
    }
    return isJwt(credential) ? tokens.authenticate(credential) : keys.authenticate(credential);
  }

  /** Makes a change to anybody felt at once. */
  forget(): void {
    const { keys, tokens, certificates, directory } = this.#ways;
    for (const each of [directory, keys, tokens, certificates]) each.forget();
  }
}
