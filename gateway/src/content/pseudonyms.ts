import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const KEY_BYTES = 32;
/** Hexadecimal digits of a pseudonym. */
const DIGITS = 8;
/** Any pseudonym, as it stands in a text. */
export const PSEUDONYM = /[A-Z][A-Z0-9_]{1,31}_[0-9A-F]{8,16}/g;

/** The secret that pseudonyms come from: a file of the operator's, made at the first start. It is never printed. */
export function pseudonymKey(file: string): Buffer {
  try {
    writeFileSync(file, randomBytes(KEY_BYTES).toString('base64'), { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
  }
  const key = Buffer.from(readFileSync(file, 'utf8').trim(), 'base64');
  if (key.length < KEY_BYTES) throw new Error(`${file} must hold ${KEY_BYTES} random bytes in base64`);
  return key;
}

/** Names of a tenant's data: the same for the same data, telling nothing of it to whoever has not the key. */
export class Pseudonyms {
  readonly #master: Buffer;
  readonly #purpose: string;
  /** Made once a name is asked for: most calls have none. */
  #key: Buffer | undefined;

  /** @param generation another one gives other names */
  constructor(master: Buffer, tenant: string, generation: number) {
    this.#master = master;
    this.#purpose = `${generation}\n${tenant}`;
  }

  of(type: string, text: string): string {
    // The same number is the same, however its digits are parted; names differ by their letters.
    const plain = text
      .normalize('NFKC')
      .toLowerCase()
      .replace(/[\s().·-]/g, '');
    this.#key ??= createHmac('sha256', this.#master).update(this.#purpose).digest();
    return createHmac('sha256', this.#key).update(`${type}\n${plain}`).digest('hex').toUpperCase();
  }
}

/** What one call's pseudonyms stand for: it lives as long as the call. */
export class Vault {
  readonly #originals = new Map<string, string>();
  readonly #names: Pseudonyms;

  constructor(names: Pseudonyms) {
    this.#names = names;
  }

  /** Another one that stands for nothing yet. */
  empty(): Vault {
    return new Vault(this.#names);
  }

  get isEmpty(): boolean {
    return this.#originals.size === 0;
  }

  /** The name that stands in a text's place from here on. */
  put(type: string, text: string): string {
    const digest = this.#names.of(type, text);
    // Two texts of one call never share a name.
    for (let digits = DIGITS; ; digits++) {
      const name = `${type.toUpperCase()}_${digest.slice(0, digits)}`;
      const known = this.#originals.get(name);
      if (known !== undefined && known !== text && digits < 2 * DIGITS) continue;
      if (known === undefined) this.#originals.set(name, text);
      return name;
    }
  }

  original(name: string): string | undefined {
    return this.#originals.get(name);
  }
}
