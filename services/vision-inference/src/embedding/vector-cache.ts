import { createHash } from 'node:crypto';

/** What a vector was made of. */
export interface VectorSource {
  tenant: string;
  /** Digest of the model's files. */
  model: string;
  kind: 'image' | 'text';
  content: string | Uint8Array;
}

/** Vectors by what they were made of, those asked for last within a bound. A tenant never meets another's. */
export class VectorCache {
  readonly #limitBytes: number;
  readonly #vectors = new Map<string, Float32Array>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  key({ tenant, model, kind, content }: VectorSource): string {
    const head = JSON.stringify([tenant, model, kind]);
    return createHash('sha256').update(head).update('\n').update(content).digest('base64url');
  }

  get(key: string): Float32Array | undefined {
    const vector = this.#vectors.get(key);
    if (!vector) return undefined;
    this.#vectors.delete(key);
    this.#vectors.set(key, vector);
    return vector;
  }

  set(key: string, vector: Float32Array): void {
    this.#forget(key);
    this.#vectors.set(key, vector);
    this.#bytes += vector.byteLength;
    for (const oldest of this.#vectors.keys()) {
      if (this.#bytes <= this.#limitBytes) break;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    this.#bytes -= this.#vectors.get(key)?.byteLength ?? 0;
    this.#vectors.delete(key);
  }
}
